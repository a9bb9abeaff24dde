// Warmup.swift — a new address of ours sends little at first, and more each day on which it sent. Pure: time is passed in.
//
// Days are those of sending, not of the calendar: a weekend without mail is no step. A day is one of UTC.

/// How many messages an address may send on its first days; behind the last of them it is warm.
package struct Warmup: Hashable, Sendable {
    /// Whom days and messages are counted for.
    package enum Per: String, Hashable, Sendable, CaseIterable {
        /// Each provider of `limits.ini`; next hops that are of none together.
        case provider
        /// All mail together.
        case all
    }

    /// Messages of the first day, of the second, and so on; at least one day.
    package let steps: [Int]
    package var per = Per.provider

    package init?(_ steps: [Int], per: Per = .provider) {
        guard (1...365).contains(steps.count), steps.allSatisfy({ $0 > 0 }) else { return nil }
        (self.steps, self.per) = (steps, per)
    }

    /// As the file has it, without `per`.
    package var text: String { steps.map(String.init).joined(separator: ", ") }

    /// What its scope is called beside the address: see ``LimitScope/warmup(_:_:)``.
    package func place(provider: String?) -> String {
        switch per {
        case .provider: provider ?? "*"
        case .all: "all"
        }
    }
}

/// How far an address is.
package struct WarmthCount: Hashable, Sendable {
    private static let day: Int64 = 86_400_000

    /// Days since 1970 of the last message; nil: none went yet.
    package private(set) var last: Int64?
    /// Messages of that day.
    package private(set) var count = 0
    /// Days on which messages went, that one included.
    package private(set) var days = 0

    package init() {}

    /// As it was written down.
    package init(last: Int64?, count: Int, days: Int) {
        (self.last, self.count, self.days) = (last, max(0, count), min(max(0, days), 100_000))
    }

    /// The number of the day of sending that it is now, from 1 on.
    package func number(at wall: Timestamp) -> Int {
        last == wall.milliseconds / Self.day ? max(1, days) : days + 1
    }

    /// Messages that may go on this day; nil: it is warm.
    package func most(_ warmup: Warmup, at wall: Timestamp) -> Int? {
        let number = number(at: wall)
        return number <= warmup.steps.count ? warmup.steps[number - 1] : nil
    }

    /// Messages of this day.
    package func used(at wall: Timestamp) -> Int { last == wall.milliseconds / Self.day ? count : 0 }

    /// When one more may go; nil: now.
    package func opens(_ warmup: Warmup, at wall: Timestamp) -> Timestamp? {
        guard let most = most(warmup, at: wall), used(at: wall) >= most else { return nil }
        return Timestamp(milliseconds: (wall.milliseconds / Self.day + 1) * Self.day)
    }

    /// One went.
    ///
    /// A clock that was set back counts for the day it came from.
    package mutating func add(at wall: Timestamp) {
        let day = wall.milliseconds / Self.day
        if let last, day <= last {
            count += 1
        } else {
            (last, count, days) = (day, 1, days + 1)
        }
    }
}
