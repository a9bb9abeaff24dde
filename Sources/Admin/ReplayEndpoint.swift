// ReplayEndpoint.swift — `POST /v1/limits/replay`: what `limits.ini`, or one that is tried, would have made of the last hours.

import Config
import History
import JSON
import Mail
import Queue

/// The answer to "what would these limits have done?".
enum ReplayEndpoint {
    /// Milliseconds that it looks back by itself, and at most.
    private static let usual: Int64 = 86_400_000
    private static let longest: Int64 = 31 * 86_400_000
    /// Events of one page.
    private static let page = 5_000
    /// Events that are looked at.
    private static let mostEvents = 1_000_000
    private static let mostMessages = 1_000
    private static let largestFile = 1 << 20
    /// Octets of a body: a file of that size whose line ends and quotes are escaped.
    static let largestBody = 2 * largestFile

    private struct Question {
        var since: Timestamp
        var before: Timestamp
        var rules: LimitRules
        var messages: Int
    }

    /// `POST /v1/limits/replay`: `{since, before, limits, messages}`.
    static func replay(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let question = try question(request, services)
        guard let book = services.history() else { throw EventEndpoints.problem(.off) }
        let (reader, isCut) = try read(book, question)
        let report = services.queue.replay(reader, under: question.rules, until: question.before)
        let shown = reader.attempts.indices.prefix(question.messages).map { index in
            message(reader.attempts[index], report.times[index])
        }
        return .json([
            "since": QueueView.time(question.since), "before": QueueView.time(question.before),
            "events": .count(reader.count), "attempts": .count(reader.attempts.count),
            "is_cut": .bool(isCut || reader.isCut), "lanes": .array(report.hops.prefix(100).map(hop)),
            "lane_count": .count(report.hops.count), "messages": .array(shown),
        ])
    }

    private static func question(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> Question {
        var body = try request.object()
        let before = try RequestTime.read(try body.string("before"), "/before") ?? .now()
        let since = try RequestTime.read(try body.string("since"), "/since") ?? before.adding(milliseconds: -usual)
        let text = try body.text("limits")
        guard text?.utf8.count ?? 0 <= largestFile else {
            throw Problem.invalid("/limits", "length", "has more than \(largestFile) bytes")
        }
        let messages = try body.integer("messages", 0...mostMessages) ?? 0
        try body.finish()
        guard since < before, before.milliseconds(since: since) <= longest else {
            throw Problem.invalid("/since", "range", "is not before the end, or more than 31 days before it")
        }
        var question = Question(
            since: since,
            before: before,
            rules: services.settings.current.limits,
            messages: messages
        )
        guard let text else { return question }
        do throws(ConfigErrors) {
            question.rules = try LimitSettings.read(INIDocument(parsing: text))
        } catch {
            throw Problem(
                .invalid,
                "limits are no limits.ini",
                issues: error.errors.prefix(50).map { Problem.Issue("/limits", "format", "\($0)") }
            )
        }
        return question
    }

    private static func read(_ book: HistoryBook, _ question: Question) throws(Problem) -> (ReplayReader, Bool) {
        var reader = ReplayReader()
        var filter = EventFilter()
        (filter.types, filter.since, filter.before) = (ReplayReader.types, question.since, question.before)
        var after: UInt64 = 0
        while reader.count < mostEvents, !reader.isCut {
            let page: EventPage
            do throws(HistoryError) {
                page = try book.events(after: after, matching: filter, atMost: Self.page)
            } catch {
                throw EventEndpoints.problem(error)
            }
            for event in page.events { reader.take(event) }
            after = page.last
            if page.isAtEnd { return (reader, false) }
        }
        return (reader, true)
    }

    private static func message(_ attempt: ReplayAttempt, _ time: Timestamp?) -> JSON {
        [
            "id": .string("\(attempt.message)"), "attempt": .count(attempt.number), "lane": .string("\(attempt.lane)"),
            "delivered": .bool(attempt.isDelivered), "answered_at": QueueView.time(attempt.answered),
            "replayed_at": QueueView.time(time),
        ]
    }

    private static func hop(_ hop: ReplayReport.Hop) -> JSON {
        [
            "lane": .string("\(hop.lane)"), "attempts": .count(hop.attempts), "delivered": .count(hop.delivered),
            "failed": .count(hop.failed), "later": .count(hop.later), "sooner": .count(hop.sooner),
            "waiting": .count(hop.waiting), "longest_delay_s": .count(Int(hop.longest / 1000)),
            "last_at": QueueView.time(hop.last), "last_replayed_at": QueueView.time(hop.lastReplayed),
            "changed": .count(hop.changed), "notes": .array(hop.notes.map(note)),
        ]
    }

    private static func note(_ note: ReplayReport.Note) -> JSON {
        [
            "kind": .string(note.kind.rawValue), "at": QueueView.time(note.at), "scope": .string("\(note.scope)"),
            "reaction": .string(note.reaction), "origin": .string(note.origin), "value": .string(note.value),
            "until": QueueView.time(note.until), "said": .string(note.said),
        ]
    }
}
