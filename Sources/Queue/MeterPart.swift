// MeterPart.swift — what this node has of the limits of one scope, where several nodes share the queue. A value.
//
// Only what `limits.ini` says is divided: what a reaction makes of it holds at the node that was told, below its part.

import Mail
import Storage

/// A limit of a scope that nodes divide.
enum SharedLimit: String, Hashable, Sendable, CaseIterable {
    case rate
    case newConnections = "new_connections"
    case connections

    /// What the nodes know it by.
    func name(_ scope: LimitScope) -> String { "limit \(rawValue) \(scope)" }
}

/// One node's part of a scope's limits.
struct MeterPart: Sendable {
    /// What all nodes may together.
    private(set) var rule = LimitTerms()
    /// Of ``RateParts/whole``.
    private var rate = 0
    private var newConnections = 0
    private(set) var sessions = 0
    /// Messages of a day.
    var day = DayAllowance()
    /// When a day was last asked for, and something of it sent.
    var dayAskedAt: Uptime?
    var dayUsedAt = Uptime(milliseconds: 0)

    /// The rule that is divided; what is not said is not.
    mutating func set(_ rule: LimitTerms?) { self.rule = rule ?? LimitTerms() }

    subscript(limit: SharedLimit) -> Int {
        get {
            switch limit {
            case .rate: rate
            case .newConnections: newConnections
            case .connections: sessions
            }
        }
        set {
            switch limit {
            case .rate: rate = newValue
            case .newConnections: newConnections = newValue
            case .connections: sessions = newValue
            }
        }
    }

    /// The rate of a limit, of all nodes together; nil: nothing is said, or it is none.
    func rate(of limit: SharedLimit) -> Rate? {
        switch limit {
        case .rate: rule.rate
        case .newConnections: rule.newConnections
        case .connections: nil
        }
    }

    /// It has something that others could use, or may have.
    var isEmpty: Bool { rate == 0 && newConnections == 0 && sessions == 0 && day.count == 0 }

    /// One message of a day leaves.
    mutating func useDay(at now: Uptime) {
        day.count = max(0, day.count - 1)
        dayUsedAt = now
    }

    /// What all nodes used of a day is forgotten, and asked for anew.
    mutating func forgetDay() {
        day = DayAllowance()
        dayAskedAt = nil
    }

    /// Nothing may be begun; what was taken of a day is lost.
    mutating func lose() {
        (rate, newConnections, sessions) = (0, 0, 0)
        day = DayAllowance()
    }
}

extension Meter {
    /// A rate as it counts here: this node's part of it; nil: it has none.
    func own(_ rate: Rate, _ limit: SharedLimit) -> Rate? {
        guard let part, part.rate(of: limit) != nil else { return rate }
        let parts = part[limit]
        return parts > 0 ? rate.part(parts, of: RateParts.whole) : nil
    }

    /// Sessions that it may have here; nil: as many as there are.
    var ownConnections: Int? {
        guard let limit = terms.connections else { return nil }
        guard let part, part.rule.connections != nil else { return limit }
        return min(limit, part.sessions)
    }

    /// It has more sessions than its part.
    var hasTooMany: Bool {
        guard let part, part.rule.connections != nil else { return false }
        return sessions > part.sessions
    }

    /// When a day's messages go on; nil: now.
    func dayOpens(_ limit: Int, at now: Uptime, _ wall: Timestamp) -> Closed? {
        guard let part, part.rule.daily != nil else {
            return day.opens(limit, at: wall).map { .until(now.adding(milliseconds: $0.milliseconds(since: wall))) }
        }
        if part.day.count > 0, now < part.day.ends { return nil }
        return part.day.opens.map { $0 > now ? .until($0) : .open } ?? .open
    }

    /// Messages of a day that may leave now.
    func dayRoom(_ limit: Int, at now: Uptime, _ wall: Timestamp) -> Int {
        guard let part, part.rule.daily != nil else { return limit - day.total(at: wall) }
        return now < part.day.ends ? part.day.count : 0
    }
}
