// QueueEndpoints.swift — the queue as a whole: listing, flush. Nothing here holds the queue's lock for long.

import Departure
import JSON
import Mail
import Queue
import Storage

/// Operations on many messages.
enum QueueEndpoints {
    static let types = ["application/json", "application/x-ndjson"]
    private static let usualPage = 100

    /// `GET /v1/queue`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        let request = try request.spelledOut(.queue)
        try request.allowQuery(QueueFilterReader.names.union(["sort", "limit", "cursor"]), lists: ["state"])
        let filter = try QueueFilterReader.read(request)
        let sort = try sort(request)
        let isStream = request.prefers("application/x-ndjson", to: "application/json")
        let cursor = request.value("cursor")
        let limit = try request.number("limit", 1...(isStream ? 100_000_000 : MailQueue.longestPage))
        guard isStream else {
            let page = try page(services.queue, filter, sort, cursor, limit ?? usualPage)
            let rows = page.rows.map { QueueView.row($0, at: services.cluster?.name) }
            return .listing(rows, next: page.next, total: page.total, isExact: page.isTotalExact)
        }
        let first = try page(services.queue, filter, sort, cursor, min(limit ?? .max, MailQueue.longestPage))
        return .stream("application/x-ndjson") { lines(first, limit ?? .max, services) }
    }

    /// The rows of a listing as lines, a page at a time.
    private static func lines(_ first: QueuePage, _ limit: Int, _ services: AdminServices) -> () -> [UInt8]? {
        let (queue, node) = (services.queue, services.cluster?.name)
        var page: QueuePage? = first
        var left = limit
        return {
            guard let current = page, left > 0 else { return nil }
            var bytes: [UInt8] = []
            for row in current.rows.prefix(left) {
                QueueView.row(row, at: node).write(to: &bytes)
                bytes.append(0x0A)
            }
            left -= current.rows.count
            page = nil
            if let next = current.next, left > 0 {
                // One that was forgotten meanwhile ends the list; its reader was away for minutes.
                page = try? queue.list(QueueFilter(), after: next, limit: min(left, MailQueue.longestPage))
            }
            return bytes.isEmpty && page != nil ? [0x0A] : bytes
        }
    }

    private static func page(
        _ queue: MailQueue,
        _ filter: QueueFilter,
        _ sort: QueueSort,
        _ cursor: String?,
        _ limit: Int
    ) throws(Problem) -> QueuePage {
        do throws(ListingError) {
            return try queue.list(filter, sort: sort, after: cursor, limit: limit)
        } catch {
            switch error {
            case .unknownCursor:
                throw Problem(.malformed, "the cursor is none of ours; take it from next of the page before")
            case .expired: throw Problem(.gone, "the listing was forgotten after five minutes without use; begin again")
            case .stillReading:
                throw Problem(
                    .unavailable,
                    "the queue is still being read after a start; readyz says how far",
                    headers: [HeaderField("Retry-After", "5")]
                )
            }
        }
    }

    private static func sort(_ request: AdminRequest) throws(Problem) -> QueueSort {
        guard let text = request.value("sort") else { return QueueSort() }
        let isDescending = text.starts(withOctets: "-")
        guard let key = QueueSort.Key(rawValue: String(isDescending ? text.dropping(octets: 1) : text[...])) else {
            let known = QueueSort.Key.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem.invalid("?sort", "enum", "is none of \(known), each with - for the other direction")
        }
        return QueueSort(key, descending: isDescending)
    }

    /// `POST /v1/queue/flush`: what SIGHUP does to the queue, or to one domain's mail.
    static func flush(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["domain"])
        var body = try request.object()
        let text = try body.string("domain") ?? request.value("domain")
        try body.finish()
        services.guide.forget()
        services.queue.awaitRecovery()
        let count: Int
        if let text {
            guard let domain = Domain(text) else { throw Problem.invalid("/domain", "format", "is no domain") }
            count = flush(domain, services.queue)
        } else {
            count = services.queue.flush(nil, at: .now())
        }
        services.audit(request, Change(operation: "flushQueue", subject: text ?? "*", after: "\(count)"))
        // Nobody is to believe that a flush passes a pause.
        let paused = services.queue.pauses.map(\.id)
        return .json(
            ["domain": .optional(text), "flushed": .count(count), "paused": .strings(paused)],
            status: 202
        )
    }

    /// Mail for a domain may wait in lanes of several routes, so the messages are asked for, not the lane.
    private static func flush(_ domain: Domain, _ queue: MailQueue) -> Int {
        var filter = QueueFilter()
        filter.domain = domain
        filter.states = [.tempFailed]
        var count = 0
        queue.forEach(filter) { row in
            if queue.retry(row.id) == .done { count += 1 }
            return true
        }
        return count
    }
}
