// Overview.swift — what the page shows first and nobody else keeps: what waits, seen as a whole, and how the last day went.
//
// Guarantees: walks through the queue take a hundredth of a processor at most, whatever is queued and however many look; the
// day is 1 440 minutes of numbers. Nothing is kept on disk: a restart begins anew.

package import Mail
import Queue
import Synchronization

/// Samples of a day, and the last picture of what waits.
package final class Overview: Sendable {
    /// A minute.
    struct Sample: Hashable, Sendable {
        var at: Timestamp
        var messages: Int
        /// Seconds.
        var oldest: Int64
        var accepted = 0
        var delivered = 0
        var deferred = 0
        var bounced = 0
    }

    /// A cause and how it went.
    struct Known: Sendable {
        let cause: WaitingPicture.Cause
        /// When it was first seen, since the start.
        let since: Timestamp
        /// Parcels an hour before, or when the looking began.
        let before: Int
    }

    private struct Past: Sendable {
        var since: Timestamp
        /// Parcels, a number for each of the last steps.
        var counts: [(at: Uptime, parcels: Int)] = []
    }

    private struct State: Sendable {
        var picture: WaitingPicture?
        /// The next walk is allowed.
        var next = Uptime(milliseconds: .min / 2)
        var past: [WaitingPicture.Cause.Key: Past] = [:]
        var samples: [Sample] = []
        var totals = [0, 0, 0, 0]
        var sampledAt = Uptime(milliseconds: .min / 2)
        var isWalking = false
    }

    /// Milliseconds.
    static let minute: Int64 = 60_000
    static let most = 1440
    private static let hour: Int64 = 3_600_000
    private static let step: Int64 = 300_000
    /// Milliseconds that a picture is good for at least, and for each that it took.
    private static let life: Int64 = 2000
    private static let lifePerCost: Int64 = 100

    private let queue: MailQueue
    private let state = Mutex(State())

    init(_ queue: MailQueue) { self.queue = queue }

    /// Whether a minute is over; who is told so keeps it (``keepMinute(at:wall:)``).
    package func claimsMinute(at now: Uptime) -> Bool {
        state.withLock { state in
            guard now.milliseconds(since: state.sampledAt) >= Self.minute else { return false }
            state.sampledAt = now
            return true
        }
    }

    /// Keeps a minute; blocks for a walk through the queue, where one is due.
    package func keepMinute(at now: Uptime = .now(), wall: Timestamp = .now()) {
        let (picture, messages, totals) = (current(at: now, wall: wall), queue.counts.messages, totals)
        state.withLock { state in
            state.samples.append(Self.sample(picture, messages, totals, since: state.totals, wall))
            if state.samples.count > Self.most { state.samples.removeFirst(state.samples.count - Self.most) }
            state.totals = totals
        }
    }

    /// Minutes, the oldest first, and what there is of the one that goes on.
    func samples(wall: Timestamp = .now()) -> [Sample] {
        let (picture, messages, totals) = (current(), queue.counts.messages, totals)
        return state.withLock { state in
            state.samples + [Self.sample(picture, messages, totals, since: state.totals, wall)]
        }
    }

    private var totals: [Int] {
        let traffic = queue.traffic
        return [traffic.accepted.total, traffic.delivered.total, traffic.deferred.total, traffic.bounced.total]
    }

    private static func sample(
        _ picture: WaitingPicture,
        _ messages: Int,
        _ totals: [Int],
        since last: [Int],
        _ wall: Timestamp
    ) -> Sample {
        let steps = zip(totals, last).map { max(0, $0 - $1) }
        return Sample(
            at: wall,
            messages: messages,
            oldest: picture.oldest.map { max(0, wall.milliseconds(since: $0)) / 1000 } ?? 0,
            accepted: steps[0],
            delivered: steps[1],
            deferred: steps[2],
            bounced: steps[3]
        )
    }

    /// What waits; blocks when the last picture is too old, and nobody else is about to make another.
    func current(at now: Uptime = .now(), wall: Timestamp = .now()) -> WaitingPicture {
        let known: WaitingPicture? = state.withLock { state in
            if let picture = state.picture, state.isWalking || now < state.next { return picture }
            state.isWalking = true
            return nil
        }
        if let known { return known }
        let picture = queue.picture(at: now, wall: wall)
        state.withLock { state in
            state.isWalking = false
            state.picture = picture
            state.next = now.adding(milliseconds: max(Self.life, Self.lifePerCost * picture.cost))
            Self.remember(picture, &state, now)
        }
        return picture
    }

    /// Causes, those of most parcels first.
    func causes(of picture: WaitingPicture) -> [Known] {
        state.withLock { state in
            picture.causes.map { cause in
                let past = state.past[cause.key]
                return Known(
                    cause: cause,
                    since: past?.since ?? picture.madeAt,
                    before: past?.counts.first?.parcels ?? 0
                )
            }
        }
    }

    /// What is seen no more is forgotten, so that only as much is remembered as a picture shows.
    private static func remember(_ picture: WaitingPicture, _ state: inout State, _ now: Uptime) {
        var past: [WaitingPicture.Cause.Key: Past] = [:]
        for cause in picture.causes {
            var one = state.past[cause.key] ?? Past(since: picture.madeAt)
            if one.counts.last.map({ now.milliseconds(since: $0.at) >= step }) ?? true {
                one.counts.append((now, cause.parcels))
            }
            while one.counts.count > 1, now.milliseconds(since: one.counts[0].at) > hour { one.counts.removeFirst() }
            past[cause.key] = one
        }
        state.past = past
    }
}
