// Trail.swift — whom a parcel met on its way: for log lines, and for plugins that want the real errors.

import Departure
import Mail
import NIOCore

/// The hosts of one attempt and their troubles.
struct Trail: Sendable {
    /// Troubles kept; a route may have many hosts, each with many addresses.
    private static let mostFailures = 32

    /// `host[ip]:port` of the last host that answered; empty when none did.
    private(set) var peer = ""
    /// Every trouble that made us turn to another host or give up, in that order.
    private(set) var failures: [Failure] = []
    /// How long the last transaction took.
    var stages = Stages()
    private var route: Route?
    private var host = 0

    /// The last host that answered; nil when none did.
    var mx: MX? { route.flatMap { host < $0.hosts.count ? $0.hosts[host] : nil } }

    /// A host answered.
    mutating func meet(_ peer: String, _ route: Route, host: Int) {
        self.peer = peer
        self.route = route
        self.host = host
    }

    mutating func add(_ failure: Failure) {
        if failures.count < Self.mostFailures { failures.append(failure) }
    }

    mutating func add(_ failures: [Failure]) { for failure in failures { add(failure) } }
}

/// Milliseconds of the steps of one transaction, where they are known.
struct Stages: Hashable, Sendable {
    /// From the question for a connection until it stands; only for the first message of a session.
    var connect: UInt32?
    /// From the connection's first word to the login; only for the first message of a session.
    var session: UInt32?
    /// From the offer of the message until its body began, or until it was refused before.
    var envelope: UInt32?
    /// From the first octet of the body to the answer to its end.
    var data: UInt32?
}

extension UInt32 {
    static func milliseconds(from start: NIODeadline, to end: NIODeadline) -> UInt32 {
        UInt32(clamping: (end - start).nanoseconds / 1_000_000)
    }
}
