// WebhookSender+Commands.swift — what people ask of receivers: how they are, a test, another try, events once more.

import Config
package import History
package import JSON
package import Mail
import Synchronization

extension WebhookSender {
    /// How a receiver is; nil when there is none of that name.
    package func status(_ name: String) -> JSON? {
        guard let receiver = state.withLock({ $0.receivers[name] }) else { return nil }
        let line = receiver.line
        let span = parts.events.span
        let isWell = line.lastError == nil || line.failures == 0
        let word =
            line.disabledReason != nil
            ? "disabled" : !receiver.endpoint.isEnabled ? "paused" : isWell ? "healthy" : "failing"
        return [
            "state": .string(word),
            "cursor": .count(line.cursor),
            "lag": .count(line.lag(newest: span.newest)),
            "waiting": .count(line.stretches.count),
            "in_flight": .count(line.flights.count),
            "taken": .count(line.taken),
            "dropped": .count(line.dropped),
            "failures": .count(line.failures),
            "last_taken_at": .optional(line.lastTakenAt?.rfc3339),
            "last_error": .optional(line.lastError),
            "last_error_at": .optional(line.lastErrorAt?.rfc3339),
            "next_attempt_at": .optional(
                line.stretches.map(\.due).min().flatMap { line.disabledReason == nil ? $0.rfc3339 : nil }
            ),
            "disabled_reason": .optional(line.disabledReason),
        ]
    }

    /// The last requests to a receiver, newest first; nil when there is none of that name.
    package func deliveries(_ name: String, atMost limit: Int) -> [JSON]? {
        state.withLock { $0.receivers[name]?.deliveries }?.reversed().prefix(limit).map(\.json)
    }

    /// Switches a receiver on again; everything that waits is due.
    ///
    /// - Returns: false when there is none of that name.
    package func enable(_ name: String) -> Bool {
        let isThere = state.withLock { state in
            state.receivers[name]?.line.enable(at: .now())
            return state.receivers[name] != nil
        }
        guard isThere else { return false }
        save(name)
        show(name)
        turn()
        return true
    }

    /// What a wish to replay came to.
    package enum Replay: Hashable, Sendable {
        case begun(ClosedRange<UInt64>)
        /// Nothing is kept of that time.
        case empty
        /// Too much waits already, or there is no receiver of that name.
        case refused
    }

    /// The numbers of the events of a time, from one moment up to another; blocks.
    package func numbers(from: Timestamp, to: Timestamp?) throws(HistoryError) -> ClosedRange<UInt64>? {
        let span = parts.events.span
        guard span.newest >= span.oldest, let first = try first(since: from, in: span) else { return nil }
        let end = try to.flatMap { (to) throws(HistoryError) in try self.first(since: to, in: span) }
        let last = end.map { $0 - 1 } ?? span.newest
        return first <= last ? first...last : nil
    }

    /// The first event since a moment.
    private func first(since time: Timestamp, in span: EventSpan) throws(HistoryError) -> UInt64? {
        var filter = EventFilter()
        filter.since = time
        var after = span.oldest - 1
        while after < span.newest {
            let page = try parts.events.events(after: after, matching: filter, atMost: 1)
            if let found = page.events.first { return found.seq }
            guard page.last > after, !page.isAtEnd else { return nil }
            after = page.last
        }
        return nil
    }

    /// Sends events once more, with the ids they had.
    package func replay(_ name: String, _ numbers: ClosedRange<UInt64>) -> Replay {
        let span = parts.events.span
        guard span.oldest <= span.newest, numbers.overlaps(span.oldest...span.newest) else { return .empty }
        let kept = numbers.clamped(to: span.oldest...span.newest)
        let isBegun = state.withLock { state in
            guard let size = state.receivers[name]?.endpoint.size else { return false }
            return state.receivers[name]?.line.replay(kept, size: size, at: .now()) ?? false
        }
        guard isBegun else { return .refused }
        save(name)
        turn()
        return .begun(kept)
    }

    /// Sends an example now, apart from everything that waits, and says what came back.
    ///
    /// - Returns: nil when there is no receiver of that name.
    package func test(_ name: String) async -> JSON? {
        guard let endpoint = state.withLock({ $0.receivers[name]?.endpoint }) else { return nil }
        let now = Timestamp.now()
        let body = WebhookBody([Self.example(endpoint, at: now)], endpoint.format, size: endpoint.size)
        let outcome = await parts.courier.carry(body, to: endpoint, at: now)
        var json: JSON = ["id": .string(body.id), "duration_ms": .integer(outcome.milliseconds)]
        var isTaken = false
        switch outcome.answer {
        case .status(let status, _):
            isTaken = (200...299).contains(status)
            json["status"] = .count(status)
        case .silence(let silence): json["error"] = .string(silence.rawValue)
        }
        json["ok"] = .bool(isTaken)
        json["text"] = .string(outcome.words)
        return json
    }

    /// An event that never was.
    private static func example(_ endpoint: WebhookSettings.Endpoint, at now: Timestamp) -> Event {
        var data = EventData()
        data.headerMessageID = "<test@martlet.invalid>"
        data.sender = "test@martlet.invalid"
        data.recipient = "recipient@martlet.invalid"
        data.smtp = EventData.Words(
            code: 250,
            enhanced: EnhancedStatus(2, 0, 0),
            text: "this is a test, no mail was sent"
        )
        data.attempt = 1
        data.text = "test"
        return Event(
            seq: 0,
            epoch: "test\(UInt32.random(in: 0...UInt32.max))",
            type: .delivered,
            time: now,
            node: "test",
            data: data
        )
    }
}
