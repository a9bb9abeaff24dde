// WaitingPicture.swift — what waits, seen as a whole: by next hop and age, and by what was last said about it.
//
// Guarantees: the lock is held for some hundred messages at a time; what is kept is bounded, whatever is queued: so many next
// hops by name, so many different replies. Who asks how often is the asker's business (`Admin/Overview.swift`).

package import Mail
package import Storage
import Synchronization

/// What a walk through the index found.
package struct WaitingPicture: Sendable {
    /// A next hop.
    package struct Row: Hashable, Sendable {
        /// Its name, as filters take it.
        package let route: String
        package var parcels = 0
        /// Parcels by age of their messages, classes as ``QueueSurvey/ageBounds``; the last has no end.
        package var ages = Array(repeating: 0, count: QueueSurvey.ageBounds.count + 1)
    }

    /// What several parcels of a next hop wait for.
    package struct Cause: Hashable, Sendable {
        package let route: String
        /// The last of what was said; others of the same differ by numbers and addresses only.
        package var reply: LastReply
        package var parcels = 0
        /// When the oldest of them was accepted.
        package var oldest: Timestamp
        /// When one of them was last tried; seconds since 1970.
        package var attemptedAt: UInt32
        /// One of them.
        package var example: QueueID

        /// The same from walk to walk.
        package var key: Key { Key(route: route, reason: reply.reason, words: Self.pattern(of: reply.text)) }

        /// What makes two of them one.
        package struct Key: Hashable, Sendable {
            let route: String
            let reason: FailureReason
            let words: String
        }

        /// A reply without what differs from mail to mail: behind the codes, words with digits or an `@` become `#`.
        package static func pattern(of text: String) -> String {
            text.utf8.split(separator: 0x20).enumerated().map { place, word in
                let varies = word.contains { (0x30...0x39).contains($0) || $0 == UInt8(ascii: "@") }
                let isCode = place < 2 && word.allSatisfy { (0x30...0x39).contains($0) || $0 == UInt8(ascii: ".") }
                return varies && !isCode ? "#" : String(decoding: word, as: UTF8.self)
            }
            .joined(separator: " ")
        }
    }

    /// Next hops that are named.
    package static let mostRoutes = 40
    /// Different causes that are told apart, and those that are kept.
    private static let mostGroups = 4096
    package static let mostCauses = 50

    package let madeAt: Timestamp
    /// Milliseconds that the walk took.
    package var cost: Int64 = 0
    /// Those with most parcels, the fullest first.
    package var rows: [Row] = []
    /// Next hops without a row, and their parcels.
    package var otherRoutes = 0
    package var otherParcels = 0
    /// Those of most parcels first.
    package var causes: [Cause] = []
    /// Causes that are not among them.
    package var otherCauses = 0
    /// When the oldest message was accepted.
    package var oldest: Timestamp?

    init(at now: Timestamp) { madeAt = now }

    private struct Group: Hashable {
        let route: String
        let reply: LastReply
    }

    /// What of a walk is not kept.
    struct Sum {
        private var groups: [Group: Cause] = [:]
        private var places: [String: Int]
        private var picture: WaitingPicture

        init(_ picture: WaitingPicture) {
            self.picture = picture
            places = Dictionary(uniqueKeysWithValues: picture.rows.enumerated().map { ($1.route, $0) })
        }

        mutating func add(_ parcel: MailQueue.Waiting, wall: Timestamp) {
            picture.oldest = picture.oldest.map { min($0, parcel.acceptedAt) } ?? parcel.acceptedAt
            let route = parcel.lane.name
            if let place = places[route] {
                let age = max(0, wall.milliseconds(since: parcel.acceptedAt)) / 1000
                picture.rows[place].ages[
                    QueueSurvey.ageBounds.firstIndex { age <= $0 } ?? QueueSurvey.ageBounds.count
                ] += 1
                picture.rows[place].parcels += 1
            } else {
                picture.otherParcels += 1
            }
            guard let reply = parcel.reply else { return }
            let group = Group(route: route, reply: reply)
            if groups[group] == nil, groups.count >= WaitingPicture.mostGroups {
                picture.otherCauses += 1
                return
            }
            let fresh = Cause(
                route: route,
                reply: reply,
                oldest: parcel.acceptedAt,
                attemptedAt: parcel.attemptedAt,
                example: parcel.id
            )
            groups[group, default: fresh].join(parcels: 1, parcel.acceptedAt, parcel.attemptedAt, reply, parcel.id)
        }

        /// Replies that differ by numbers only become one.
        consuming func result() -> WaitingPicture {
            var merged: [Cause.Key: Cause] = [:]
            for cause in groups.values {
                merged[cause.key, default: Cause(emptied: cause)].join(
                    parcels: cause.parcels,
                    cause.oldest,
                    cause.attemptedAt,
                    cause.reply,
                    cause.example
                )
            }
            let sorted = merged.values.sorted { ($0.parcels, $1.route) > ($1.parcels, $0.route) }
            picture.causes = Array(sorted.prefix(WaitingPicture.mostCauses))
            picture.otherCauses += max(0, sorted.count - WaitingPicture.mostCauses)
            return picture
        }
    }
}

extension WaitingPicture.Cause {
    fileprivate init(emptied other: Self) {
        self = other
        parcels = 0
    }

    fileprivate mutating func join(
        parcels count: Int,
        _ accepted: Timestamp,
        _ attempted: UInt32,
        _ words: LastReply,
        _ id: QueueID
    ) {
        parcels += count
        oldest = min(oldest, accepted)
        guard attempted >= attemptedAt else { return }
        (attemptedAt, reply, example) = (attempted, words, id)
    }
}

extension MailQueue {
    /// A parcel that waits, for ``WaitingPicture``.
    struct Waiting: Sendable {
        let lane: Lane
        let reply: LastReply?
        let acceptedAt: Timestamp
        let attemptedAt: UInt32
        let id: QueueID
    }

    /// How much came and went.
    package var traffic: Traffic { state.withLock { $0.traffic } }

    /// Looks at everything that waits; blocks for as long as the walk takes, a second for some million parcels.
    package func picture(at now: Uptime = .now(), wall: Timestamp = .now()) -> WaitingPicture {
        var picture = WaitingPicture(at: wall)
        let (rows, count) = fullest()
        (picture.rows, picture.otherRoutes) = (rows, max(0, count - rows.count))
        var sum = WaitingPicture.Sum(picture)
        walk(QueueFilter(), now: now, wall: wall) { state, slot in
            state[slot].map { state.waiting(of: $0) }
        } visit: { messages in
            for parcels in messages { for parcel in parcels { sum.add(parcel, wall: wall) } }
            return true
        }
        var result = sum.result()
        result.cost = Uptime.now().milliseconds(since: now)
        return result
    }

    /// The routes with most parcels, and how many there are.
    private func fullest() -> (rows: [WaitingPicture.Row], count: Int) {
        var parcels: [String: Int] = [:]
        var names = 0
        var start = 0
        while true {
            let (reports, isEnd) = state.withLock { $0.scheduler.reports(from: start, count: 1024) }
            for report in reports { parcels[report.lane.name, default: 0] += report.parcels }
            start += 1024
            // What is far behind is not needed to find the first.
            if parcels.count > 64 * WaitingPicture.mostRoutes || isEnd {
                let sorted = parcels.sorted { ($0.value, $1.key) > ($1.value, $0.key) }
                let kept = isEnd ? WaitingPicture.mostRoutes : 8 * WaitingPicture.mostRoutes
                names += max(0, sorted.count - kept)
                parcels = Dictionary(uniqueKeysWithValues: sorted.prefix(kept).map { ($0.key, $0.value) })
            }
            if isEnd { break }
        }
        let sorted = parcels.sorted { ($0.value, $1.key) > ($1.value, $0.key) }
        return (sorted.map { WaitingPicture.Row(route: $0.key) }, names + sorted.count)
    }
}

extension QueueState {
    /// The parcels of a message.
    fileprivate func waiting(of entry: MessageEntry) -> [MailQueue.Waiting] {
        var parcels: [MailQueue.Waiting] = []
        forEachParcel(of: entry) { ticket, parcel in
            parcels.append(
                MailQueue.Waiting(
                    lane: scheduler.lane(of: ticket),
                    reply: parcel.reply == 0 ? nil : replies[parcel.reply],
                    acceptedAt: entry.acceptedAt,
                    attemptedAt: parcel.attemptedAt,
                    id: entry.id
                )
            )
        }
        return parcels
    }
}
