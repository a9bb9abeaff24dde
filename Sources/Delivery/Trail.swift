// Trail.swift — whom a parcel met on its way: for log lines, and for plugins that want the real errors.

import Departure
import Mail

/// The hosts of one attempt and their troubles.
struct Trail: Sendable {
    /// Troubles kept; a route may have many hosts, each with many addresses.
    private static let mostFailures = 32

    /// `host[ip]:port` of the last host that answered; empty when none did.
    private(set) var peer = ""
    /// Every trouble that made us turn to another host or give up, in that order.
    private(set) var failures: [Failure] = []
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
