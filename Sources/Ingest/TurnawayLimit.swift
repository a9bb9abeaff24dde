// TurnawayLimit.swift — how many lines about refused clients the log gets. Pure: time is passed in.
//
// Whoever is refused must be found in the log, and whoever is refused a thousand times a minute must not fill it: the
// first refusals of each client in a minute have a line each, the rest of that minute one line together. Memory is
// bounded whatever comes: beyond so many clients the rest counts as one.

import Loop
package import Mail

/// Counts refusals minute by minute.
package struct TurnawayLimit: Sendable {
    /// Refusals of one client in a minute that have a line each: above what programs that ban want to see.
    package static let perClient = 10
    /// Lines of all clients in a minute.
    package static let perMinute = 3000
    /// Milliseconds.
    package static let window: Int64 = 60_000

    /// What becomes of a refusal.
    package enum Verdict: Hashable, Sendable {
        /// It has a line of its own.
        case tell
        /// It is counted; ask for ``due(at:)`` when the minute is over.
        case countFirst
        /// It is counted like others before it.
        case count
    }

    /// Refusals that had no line.
    package struct Silent: Hashable, Sendable {
        /// The address, or the first of its /64; nil for clients that are too many to be told apart.
        package let client: IPAddress?
        package let count: Int
    }

    private struct Record {
        var told = 0
        var silent = 0
    }

    private let capacity: Int
    private var records: [IPAddress: Record] = [:]
    private var told = 0
    /// Of clients without a record.
    private var others = 0
    private var isSilent = false
    private var began: Uptime?

    /// - Parameter capacity: how many clients are told apart.
    package init(capacity: Int = 4096) { self.capacity = capacity }

    /// A client was refused something; ``due(at:)`` comes first.
    ///
    /// - Parameter count: how many times.
    package mutating func admit(_ client: IPAddress?, count: Int = 1, at now: Uptime) -> Verdict {
        began = began ?? now
        let key = client?.subscriber
        guard let key, records[key] != nil || records.count < capacity else {
            others &+= count
            return silence()
        }
        var record = records[key] ?? Record()
        defer { records[key] = record }
        guard count == 1, record.told < Self.perClient, told < Self.perMinute else {
            record.silent &+= count
            return silence()
        }
        record.told += 1
        told += 1
        return .tell
    }

    private mutating func silence() -> Verdict {
        defer { isSilent = true }
        return isSilent ? .count : .countFirst
    }

    /// What had no line in the minute that is over; empty while it is not.
    package mutating func due(at now: Uptime) -> [Silent] {
        guard let began, now.milliseconds(since: began) >= Self.window else { return [] }
        var due = records.compactMap { client, record in
            record.silent > 0 ? Silent(client: client, count: record.silent) : nil
        }
        if others > 0 { due.append(Silent(client: nil, count: others)) }
        self = TurnawayLimit(capacity: capacity)
        return due
    }
}
