// EventStream.swift — `GET /v1/events` as a stream of server-sent events: what was missed, then what happens, and a sign of
// life now and then.
//
// Guarantees: a client that comes back with `Last-Event-ID` misses nothing that is kept, and hears 410 with the oldest number
// where something is not; a stream takes no seat of the API (`AdminConnections`), a bounded share of bytes
// (`EventFeed`), and ends with its token or session, and after an hour.
// Source: HTML, server-sent events.

import Glibc
import History
import JSON
import Mail

/// Streams of events.
enum EventStream {
    static let type = "text/event-stream"
    /// Milliseconds between signs of life.
    private static let heartbeat: Int64 = 15_000
    /// Milliseconds between two looks whether the relay ends.
    private static let slice = 1000
    /// Milliseconds of a stream.
    private static let longest: Int64 = 3_600_000

    /// Answers with a stream.
    ///
    /// - Parameters:
    ///   - after: the number that the client knows; nil: as `Last-Event-ID` says, else from now on.
    static func answer(
        _ request: AdminRequest,
        _ feed: EventFeed,
        after: UInt64?,
        matching filter: EventFilter,
        _ services: AdminServices
    ) throws(Problem) -> AdminResponse {
        let span = feed.reader.span
        let start =
            try request.header("last-event-id").map { (text) throws(Problem) in
                try number(text, span, feed)
            } ?? after
        if let start, start > span.newest { throw gone(span) }
        let from = start ?? span.newest
        do throws(HistoryError) { _ = try feed.reader.events(after: from, matching: EventFilter(), atMost: 1) } catch {
            throw EventEndpoints.problem(error)
        }
        let caller = request.caller
        return .following(type, headers: [HeaderField("Cache-Control", "no-cache")]) { isGone in
            let state = State(feed, from, filter) { !isGone() && TokenGuard.stands(caller, services) }
            return { state.next() }
        }
    }

    /// What `Last-Event-ID` says: an event's id, or its number.
    private static func number(_ text: String, _ span: EventSpan, _ feed: EventFeed) throws(Problem) -> UInt64 {
        if let number = UInt64(text), text.utf8.count <= 18 { return number }
        let parts = text.split(octet: "_", omittingEmpty: false)
        guard parts.count == 3, parts[0].isSame(octets: "evt"), let number = UInt64(parts[2]) else {
            throw Problem(.malformed, "Last-Event-ID is neither an event's id nor its number")
        }
        // Of another history the number means nothing.
        let known = try? feed.reader.events(
            after: span.newest == 0 ? 0 : span.newest - 1,
            matching: EventFilter(),
            atMost: 1
        )
        if let epoch = known?.events.first?.epoch, !epoch.isSame(octets: parts[1]) { throw gone(span) }
        return number
    }

    private static func gone(_ span: EventSpan) -> Problem {
        EventEndpoints.problem(HistoryError.tooOld(oldest: span.oldest))
    }

    /// One stream, on its connection's thread.
    private final class State {
        private let feed: EventFeed
        private let filter: EventFilter
        private let stands: () -> Bool
        private var seq: UInt64
        private var isOpened = false
        private let end = Uptime.now().adding(milliseconds: longest)
        /// The last bytes, and the last look for some.
        private var last = Uptime.now()
        private var looked = Uptime(milliseconds: 0)

        /// - Parameter stands: whether who asked is there and may still have it.
        init(_ feed: EventFeed, _ seq: UInt64, _ filter: EventFilter, _ stands: @escaping () -> Bool) {
            (self.feed, self.seq, self.filter, self.stands) = (feed, seq, filter, stands)
            feed.enter()
        }

        deinit { feed.leave() }

        /// The next bytes, for which it waits; nil: the stream ends.
        func next() -> [UInt8]? {
            guard isOpened else {
                isOpened = true
                return Array("retry: 3000\n\n".utf8)
            }
            while !feed.isClosed, Uptime.now() < end {
                pace()
                guard stands() else { return nil }
                do throws(HistoryError) {
                    let piece = try feed.piece(after: seq, filter)
                    seq = piece.last
                    if !piece.bytes.isEmpty {
                        last = .now()
                        return piece.bytes
                    }
                } catch {
                    // What is gone meanwhile is told when the client comes back.
                    return nil
                }
                _ = feed.reader.wait(behind: seq, atMost: slice)
                if Uptime.now().milliseconds - last.milliseconds >= heartbeat {
                    last = .now()
                    return Array(": \n\n".utf8)
                }
            }
            return nil
        }

        /// A look finds what came meanwhile, instead of a wake for each event; the more follow, the rarer.
        private func pace() {
            let rest = feed.gap - (Uptime.now().milliseconds - looked.milliseconds)
            if rest > 0 { usleep(UInt32(rest) * 1000) }
            looked = .now()
        }
    }
}
