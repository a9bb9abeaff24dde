// LiveStream.swift — `GET /v1/live`: one stream of what changes by itself, for people who look on: numbers by topic, and some
// of the events.
//
// Guarantees: a stream writes once a second at most and only what is new to it; it takes no seat of the API, and ends with
// its token or session, and after an hour. It is no record of what happened: of events it tells at
// most so many a second, and how many it left out; who must have all of them reads `GET /v1/events`.
// Source: HTML, server-sent events.

import Config
import Glibc
import History
import JSON
import Mail

/// Streams for people.
enum LiveStream {
    static let type = EventStream.type
    /// Milliseconds between two looks, while a first sheet is made, and between signs of life.
    private static let slice: Int64 = 1000
    private static let moment: Int64 = 50
    private static let heartbeat: Int64 = 5000
    /// Milliseconds of a stream.
    private static let longest: Int64 = 3_600_000
    /// Filters of one stream.
    private static let mostFilters = 8

    /// `GET /v1/live?topic=…&events=…`.
    static func follow(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([], lists: ["topic", "events"])
        var topics: Set<LiveTopic> = []
        for text in request.values("topic") {
            guard let topic = LiveTopic(rawValue: text) else {
                let known = LiveTopic.allCases.map(\.rawValue).joined(separator: ", ")
                throw Problem.invalid("?topic", "enum", "is none of \(known)")
            }
            topics.insert(topic)
        }
        var filters: [String: EventFilter] = [:]
        for text in request.values("events") { filters[text] = try filter(text) }
        guard filters.count <= mostFilters else {
            throw Problem.invalid("?events", "length", "there may be \(mostFilters) filters")
        }
        guard !topics.isEmpty || !filters.isEmpty else {
            throw Problem.invalid("?topic", "required", "is missing, and so is events")
        }
        for topic in topics { if let scope = topic.scope { try TokenGuard.check(scope, request.caller) } }
        if !filters.isEmpty { try TokenGuard.check(.queueRead, request.caller) }
        let feed = services.feed()
        // Where nothing is kept there is nothing to tell of what happens, and the numbers go on.
        let wanted = feed == nil ? [:] : filters
        guard services.live.enter(Array(wanted.keys), newest: feed?.reader.span.newest ?? 0) else {
            throw Problem(
                .unavailable,
                "too many filters are followed already",
                headers: [HeaderField("Retry-After", "30")]
            )
        }
        let state = Seat(services, request.caller, topics, wanted, feed)
        return .following(type, headers: [HeaderField("Cache-Control", "no-cache")]) { isGone in
            let stream = Stream(state, isGone)
            return { stream.next() }
        }
    }

    /// The short words of a filter; none: everything.
    private static func filter(_ text: String) throws(Problem) -> EventFilter {
        var request = AdminRequest(.get, "/v1/events", id: "live")
        request.query = try FilterWords.history.expand(text, place: "?events")
        return try EventEndpoints.filter(only: request)
    }

    /// Somebody who looks on, counted as long as this lives: a client may go before its stream has begun.
    private final class Seat: Sendable {
        let services: AdminServices
        let caller: Caller
        let topics: Set<LiveTopic>
        let filters: [String: EventFilter]
        let feed: EventFeed?

        init(
            _ services: AdminServices,
            _ caller: Caller,
            _ topics: Set<LiveTopic>,
            _ filters: [String: EventFilter],
            _ feed: EventFeed?
        ) {
            (self.services, self.caller) = (services, caller)
            (self.topics, self.filters, self.feed) = (topics, filters, feed)
        }

        deinit { services.live.leave(Array(filters.keys)) }
    }

    /// One stream, on its connection's thread.
    private final class Stream {
        private let seat: Seat
        private let isGone: () -> Bool
        private var board: LiveBoard { seat.services.live }
        /// Topics that were not told yet, the next one last: each goes by itself, so that the quick do not wait for the slow.
        private var fresh: [LiveTopic]
        private var seen: [LiveTopic: UInt64] = [:]
        private var events: [String: UInt64] = [:]
        private var isOpened = false
        private let end = Uptime.now().adding(milliseconds: longest)
        /// The last bytes, and the last look for some.
        private var last = Uptime.now()
        private var looked = Uptime.now()

        init(_ seat: Seat, _ isGone: @escaping () -> Bool) {
            (self.seat, self.isGone) = (seat, isGone)
            fresh = LiveTopic.allCases.filter(seat.topics.contains).reversed()
            for filter in seat.filters.keys { events[filter] = seat.services.live.version(of: filter) }
        }

        /// The next bytes, for which it waits; nil: the stream ends.
        func next() -> [UInt8]? {
            guard isOpened else {
                isOpened = true
                return Array("retry: 3000\n\n".utf8)
            }
            while let topic = fresh.popLast() {
                let bytes = news(of: topic)
                if !bytes.isEmpty { return bytes }
            }
            while !board.isClosed, Uptime.now() < end {
                pace()
                guard !isGone(), TokenGuard.stands(seat.caller, seat.services) else { return nil }
                let bytes = news()
                if !bytes.isEmpty {
                    last = .now()
                    return bytes
                }
                if Uptime.now().milliseconds - last.milliseconds >= heartbeat {
                    last = .now()
                    return Array(": \n\n".utf8)
                }
            }
            return nil
        }

        private func news() -> [UInt8] {
            var bytes: [UInt8] = []
            for topic in LiveTopic.allCases where seat.topics.contains(topic) { bytes += news(of: topic) }
            guard let feed = seat.feed else { return bytes }
            for (filter, wanted) in seat.filters {
                for sheet in board.sheets(of: filter, wanted, after: events[filter] ?? 0, at: .now(), feed) {
                    events[filter] = sheet.version
                    bytes += sheet.bytes
                }
            }
            return bytes
        }

        private func news(of topic: LiveTopic) -> [UInt8] {
            guard let sheet = board.sheet(topic, at: .now(), { topic.value(seat.services) }),
                sheet.version != seen[topic]
            else { return [] }
            seen[topic] = sheet.version
            return sheet.bytes
        }

        private func pace() {
            let gap = seen.count < seat.topics.count ? moment : slice
            let rest = gap - (Uptime.now().milliseconds - looked.milliseconds)
            if rest > 0 { usleep(UInt32(rest) * 1000) }
            looked = .now()
        }
    }
}
