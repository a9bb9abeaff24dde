// EventEndpoints.swift — what happened: events by number, the search of history, a message wherever it is now.

import History
import JSON
import Mail
import Queue
import Storage

/// Operations on events and history.
enum EventEndpoints {
    static let types = ["application/json", "application/x-ndjson", EventStream.type]
    private static let usualPage = 100
    private static let longestPage = 1_000
    /// Seconds that a request may wait for an event.
    private static let longestWait = 60
    private static let filters: Set<String> = [
        "domain", "sender", "recipient", "route", "reason", "reply_class", "code", "tag", "header_message_id", "id",
        "since", "before",
    ]

    /// `GET /v1/events`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        let request = try request.spelledOut(.history)
        try request.allowQuery(filters.union(["after", "type", "limit", "wait_s"]), lists: ["type"])
        let book = try history(services)
        var filter = try filter(request)
        for text in request.values("type") {
            guard let type = EventType(name: text) else {
                throw Problem.invalid("?type", "enum", "is no type of event")
            }
            filter.types.insert(type)
        }
        if request.prefers(EventStream.type, to: "application/json"), let feed = services.feed() {
            let after = try request.number("after", 0...Int.max).map { UInt64($0) }
            return try EventStream.answer(request, feed, after: after, matching: filter, services)
        }
        let after = UInt64(try request.number("after", 0...Int.max) ?? 0)
        let limit = try request.number("limit", 1...longestPage) ?? usualPage
        let wait = try request.number("wait_s", 0...longestWait) ?? 0
        let page = try page(book, after, filter, limit, wait)
        let span = book.span
        if request.prefers("application/x-ndjson", to: "application/json") {
            var bytes: [UInt8] = []
            for event in page.events {
                event.json.write(to: &bytes)
                bytes.append(0x0A)
            }
            let last = HeaderField("X-Last-Seq", "\(page.last)")
            return .bytes(bytes, "application/x-ndjson", headers: [last])
        }
        return .json([
            "items": .array(page.events.map(\.json)),
            "last": .count(page.last),
            "is_at_end": .bool(page.isAtEnd),
            "oldest": .count(span.oldest),
            "newest": .count(span.newest),
        ])
    }

    /// Reads until something fits, there is no more to come, or the time is over.
    private static func page(
        _ book: HistoryBook,
        _ after: UInt64,
        _ filter: EventFilter,
        _ limit: Int,
        _ seconds: Int
    ) throws(Problem) -> EventPage {
        let end = Uptime.now().adding(milliseconds: Int64(seconds) * 1_000)
        var after = after
        while true {
            let page: EventPage
            do throws(HistoryError) { page = try book.events(after: after, matching: filter, atMost: limit) } catch {
                throw problem(error)
            }
            let left = end.milliseconds(since: .now())
            guard page.events.isEmpty, left > 0 || !page.isAtEnd else { return page }
            after = page.last
            if page.isAtEnd, !book.wait(behind: after, atMost: Int(left)) { return page }
        }
    }

    /// `GET /v1/history`.
    static func search(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        let request = try request.spelledOut(.history)
        try request.allowQuery(filters.union(["status", "limit", "cursor"]), lists: ["status"])
        let book = try history(services)
        var query = HistoryQuery()
        query.filter = try filter(request)
        for text in request.values("status") {
            guard let status = RecipientStatus(rawValue: text) else {
                let known = RecipientStatus.allCases.map(\.rawValue).joined(separator: ", ")
                throw Problem.invalid("?status", "enum", "is none of \(known)")
            }
            query.statuses.insert(status)
        }
        query.before = try request.number("cursor", 1...Int.max).map { UInt64($0) }
        let limit = try request.number("limit", 1...longestPage) ?? usualPage
        let page: HistoryPage
        do throws(HistoryError) { page = try book.search(query, atMost: limit) } catch { throw problem(error) }
        return .json([
            "items": .array(page.stories.map { .object(HistoryView.members($0)) }),
            "next": .optional(page.next.map { "\($0)" }),
        ])
    }

    /// `DELETE /v1/history?recipient=…`: forgets a person.
    static func erase(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["recipient"])
        guard let text = request.value("recipient"), let address = EmailAddress(text) else {
            throw Problem.invalid("?recipient", "format", "is no address")
        }
        let book = try history(services)
        let count: Int
        do throws(HistoryError) {
            count = try book.erase(recipient: "\(address)", actor: request.caller.name, now: .now())
        } catch {
            throw problem(error)
        }
        // Not whom: that would remember what is forgotten.
        services.audit(request, Change(operation: "eraseHistory", after: "\(count)"))
        return .json(["messages": .count(count)])
    }

    /// `GET /v1/messages/{id}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let id = try MessageEndpoints.id(request)
        let report: MessageReport?
        do throws(QueueError) { report = try services.queue.show(id) } catch { throw MessageEndpoints.problem(error) }
        let story: MessageStory?
        do throws(HistoryError) { story = try services.history()?.story(of: id) } catch { throw problem(error) }
        guard story != nil || report != nil else {
            throw Problem(
                .notFound,
                "no message of that id is known: it never was here, or is older than history_days in events.ini; GET /v1/history searches"
            )
        }
        var members = story.map(HistoryView.members) ?? [JSON.Member("id", .string("\(id)"))]
        members.append(JSON.Member("queue", report.map { QueueView.report($0, at: services.cluster?.name) } ?? .null))
        members.append(JSON.Member("timeline", .array((story?.events ?? []).map(\.json))))
        return .json(.object(members))
    }

    /// `GET /v1/events/schema`.
    static func schema(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        return .bytes(EventSchema.json.bytes, "application/schema+json")
    }

    // MARK: -

    static func history(_ services: AdminServices) throws(Problem) -> HistoryBook {
        guard let book = services.history() else { throw problem(.off) }
        return book
    }

    static func problem(_ error: HistoryError) -> Problem {
        switch error {
        case .tooOld(let oldest):
            Problem(
                .gone,
                "these events are gone; the oldest that is left is \(oldest)",
                members: [JSON.Member("oldest_seq", .count(oldest))]
            )
        case .off: Problem(.notFound, "history is switched off; history = true in events.ini keeps it from then on")
        case .broken:
            Problem(
                .unavailable,
                "history cannot be read now; the log says why: see that the disk of the data directory has room and works, and ask again"
            )
        }
    }

    /// A filter that holds nothing but conditions on events.
    static func filter(only request: AdminRequest) throws(Problem) -> EventFilter {
        try request.allowQuery(filters)
        return try filter(request)
    }

    private static func filter(_ request: AdminRequest) throws(Problem) -> EventFilter {
        // The words that the queue knows mean the same here.
        let queue = try QueueFilterReader.read(request)
        var filter = EventFilter()
        filter.domain = queue.domain
        filter.route = queue.route
        filter.reason = queue.reason
        (filter.sender, filter.recipient) = (queue.sender, queue.recipient)
        if let word = request.value("reply_class") {
            guard let found = ReplyClass(name: word) else {
                let known = ReplyClass.allCases.map(\.name).joined(separator: ", ")
                throw Problem.invalid("?reply_class", "enum", "is none of \(known)")
            }
            filter.replyClass = found
        }
        filter.tag = request.value("tag")
        filter.headerMessageID = request.value("header_message_id")
        filter.code = try request.number("code", 200...599).map { UInt16($0) }
        if let text = request.value("id") {
            guard let id = QueueID(text) else { throw Problem.invalid("?id", "format", "is no id of a message") }
            filter.message = id
        }
        filter.since = try time("since", request)
        filter.before = try time("before", request)
        return filter
    }

    static func time(_ name: String, _ request: AdminRequest) throws(Problem) -> Timestamp? {
        guard let text = request.value(name) else { return nil }
        guard let time = Timestamp(rfc3339: text) else {
            throw Problem.invalid("?\(name)", "format", "is no time such as 2027-01-31T12:00:00Z")
        }
        return time
    }
}
