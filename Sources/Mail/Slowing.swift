// Slowing.swift — what a reaction has made of a scope: how low it is, and how it comes back. Pure: time is passed in.
//
// Down by a factor, up by steps, never a snap back. Replies to what was under way when it was lowered do not lower it twice.

/// A scope that a reaction holds down.
package struct Slowing: Hashable, Sendable {
    /// What is held down.
    package enum Kind: String, Hashable, Sendable {
        /// Messages an hour.
        case rate
        /// Sessions at once.
        case connections
        /// An address of ours is left alone; the level is for how many seconds.
        case otherSource = "other_source"
    }

    /// Milliseconds in which further replies mean the same.
    package static let oneReply: Int64 = 10_000
    /// The highest level: as fast as anything goes.
    static let most = 3_600_000_000

    package let scope: LimitScope
    /// The name of the reaction.
    package let reaction: String
    /// `limits.ini:12`.
    package let origin: String
    package let kind: Kind
    package let since: Timestamp
    /// Where it stands.
    package private(set) var level: Int
    /// Where it ends.
    package private(set) var base: Int
    /// The level at which it was last refused.
    package private(set) var refusedAt: Int
    package private(set) var loweredAt: Timestamp
    /// When it is raised again.
    package private(set) var stepsAt: Timestamp
    /// The reply, printable, at most 200 bytes.
    package private(set) var said: String

    /// It begins.
    ///
    /// - Parameters:
    ///   - level: messages an hour, or sessions, as there were until now.
    ///   - end: where it ends; nil: at that level.
    ///   - said: the reply.
    /// - Returns: nil for a reaction that holds nothing down.
    package init?(
        _ reaction: Reaction,
        of scope: LimitScope,
        from level: Int,
        to end: Int? = nil,
        said: String,
        at wall: Timestamp
    ) {
        (self.scope, self.reaction, origin, since) = (scope, reaction.name, reaction.origin, wall)
        let from = min(max(1, level), Self.most)
        let slope: Slope
        switch reaction.deed {
        case .slow(let its):
            (kind, slope) = (.rate, its)
            self.level = Self.lowered(from, slope)
        case .connections(let most, let its):
            (kind, slope) = (.connections, its)
            self.level = min(from, most)
        case .otherSource(let time):
            (kind, slope) = (.otherSource, Slope(every: time))
            self.level = max(1, Int(time / 1000))
        case .pause, .parkSender, .bounce, .delay: return nil
        }
        (base, refusedAt, loweredAt) = (min(Self.most, max(from, end ?? 0, self.level + 1)), from, wall)
        stepsAt = wall.adding(milliseconds: slope.every)
        self.said = Self.clean(said)
    }

    /// As it was written down.
    package init(
        scope: LimitScope,
        reaction: String,
        origin: String,
        kind: Kind,
        since: Timestamp,
        levels: (now: Int, base: Int, refused: Int),
        times: (lowered: Timestamp, steps: Timestamp),
        said: String
    ) {
        (self.scope, self.reaction, self.origin, self.kind, self.since) = (scope, reaction, origin, kind, since)
        level = min(max(1, levels.now), Self.most)
        base = min(max(1, levels.base), Self.most)
        refusedAt = min(max(1, levels.refused), Self.most)
        (loweredAt, stepsAt, self.said) = (times.lowered, times.steps, Self.clean(said))
    }

    private static func lowered(_ level: Int, _ slope: Slope) -> Int {
        max(min(slope.floor, level), level * slope.left / 100)
    }

    private static func clean(_ text: String) -> String {
        String(decoding: text.cut(octets: 200).utf8.map { $0 < 0x20 || $0 == 0x7F ? 0x20 : $0 }, as: UTF8.self)
    }

    /// The same was said again.
    ///
    /// - Parameter observed: messages an hour of late; nil where too few went to tell.
    /// - Returns: false when it only answers what was under way.
    package mutating func lower(
        _ reaction: Reaction,
        observed: Int? = nil,
        said: String,
        at wall: Timestamp
    ) -> Bool {
        let slope: Slope
        switch reaction.deed {
        case .slow(let its), .connections(_, let its): slope = its
        case .otherSource(let time): slope = Slope(every: time)
        case .pause, .parkSender, .bounce, .delay: return false
        }
        stepsAt = wall.adding(milliseconds: slope.every)
        guard wall.milliseconds(since: loweredAt) >= Self.oneReply || wall < loweredAt else { return false }
        (refusedAt, loweredAt, self.said) = (min(level, observed ?? level), wall, Self.clean(said))
        switch reaction.deed {
        case .slow: level = Self.lowered(refusedAt, slope)
        case .connections(let most, _): level = max(1, min(level - 1, most))
        case .otherSource(let time): level = max(1, Int(time / 1000))
        case .pause, .parkSender, .bounce, .delay: break
        }
        return true
    }

    /// The time has come for a step: one at a time, so that nothing snaps back after a while without a clock.
    ///
    /// - Returns: whether it is over.
    package mutating func step(_ slope: Slope, at wall: Timestamp) -> Bool {
        guard wall >= stepsAt else { return false }
        stepsAt = wall.adding(milliseconds: slope.every)
        switch kind {
        case .rate: level += max(1, max(level, refusedAt) * slope.step / 100)
        case .connections: level += 1
        case .otherSource: return true
        }
        return level >= base
    }

    /// The level as a rate.
    package var rate: Rate? {
        guard kind == .rate else { return nil }
        return level % 60 == 0 ? Rate(level / 60, per: 60_000) : Rate(level, per: 3_600_000)
    }

    /// As `limits.ini` would have it: `150/m`, `3`.
    package var text: String { rate?.description ?? (kind == .otherSource ? "\(level)s" : "\(level)") }

    /// The end as it would be written.
    package var baseText: String {
        if kind == .otherSource { return "none" }
        guard kind == .rate else { return "\(base)" }
        return base % 60 == 0 ? "\(base / 60)/m" : "\(base)/h"
    }

    /// A written-down clock was ahead: it counts from now.
    package mutating func clamp(to wall: Timestamp) {
        loweredAt = min(loweredAt, wall)
        stepsAt = min(stepsAt, wall.adding(milliseconds: 7 * 86_400_000))
    }

    /// Which terms count where it holds something down: the smaller ones.
    package func over(_ terms: LimitTerms) -> LimitTerms {
        var terms = terms
        switch kind {
        case .rate:
            guard let rate, (terms.rate?.interval ?? 0) < rate.interval else { return terms }
            (terms.rate, terms.origins[.rate]) = (rate, origin)
        case .connections:
            guard level < terms.connections ?? .max else { return terms }
            (terms.connections, terms.origins[.connections]) = (level, origin)
        case .otherSource: (terms.avoidedUntil, terms.origins[.otherSource]) = (stepsAt, origin)
        }
        return terms
    }
}

extension Rate {
    /// Events of an hour, rounded down.
    package var perHour: Int { Int(min(Int64(count) * 3_600_000 / period, 3_600_000_000)) }
}

/// How many came of late: enough to tell a rate, in 24 bytes.
package struct LateCount: Hashable, Sendable {
    /// Milliseconds of a slice.
    private static let slice: Int64 = 60_000

    private var slices: Int64 = 0
    private var count: Int32 = 0
    private var before: Int32 = 0
    /// Since when it counts, in milliseconds.
    private var since: Int64 = 0

    package init() {}

    /// One came.
    package mutating func add(at now: Uptime) {
        let current = now.milliseconds / Self.slice
        if current != slices || since == 0 {
            if current - slices > 1 || since == 0 { since = max(1, now.milliseconds) }
            before = current - slices == 1 ? count : 0
            (slices, count) = (current, 0)
        }
        count &+= 1
    }

    /// Events of the last minute, near enough; nil when fewer than ten came, which tells nothing.
    package func lastMinute(at now: Uptime) -> Int? {
        let current = now.milliseconds / Self.slice
        let left = Self.slice - now.milliseconds % Self.slice
        let events: Int64
        switch current - slices {
        case 0: events = Int64(count) + Int64(before) * left / Self.slice
        case 1: events = Int64(count) * left / Self.slice
        default: return nil
        }
        return events >= 10 ? Int(events) : nil
    }

    /// Milliseconds of the last minute in which it counted.
    package func lasted(at now: Uptime) -> Int64 { max(0, min(Self.slice, now.milliseconds - since)) }

    /// Events an hour, if it had gone on as it began: higher than the last minute's where they came together.
    package func speed(at now: Uptime) -> Int? {
        lastMinute(at: now).map { Int(Int64($0) * 3_600_000 / max(5000, lasted(at: now))) }
    }
}
