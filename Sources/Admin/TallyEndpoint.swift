// TallyEndpoint.swift — `/v1/stats?by=…`: what became of the mail of some hours, told apart by tag, user, route or provider.

import History
import JSON
import Mail

/// Numbers of the past.
enum TallyEndpoint {
    /// The longest answer, names.
    private static let mostNames = 1_000
    private static let usualNames = 100
    private static let usualSpan: Int64 = 24 * 3_600_000

    /// `GET /v1/stats?by=tag|user|route|provider&from=&to=&limit=`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["by", "from", "to", "limit"])
        let book = try EventEndpoints.history(services)
        guard let kind = TallyKind.allCases.first(where: { $0.name == request.value("by") }) else {
            let known = TallyKind.allCases.map(\.name).joined(separator: ", ")
            throw Problem.invalid("?by", "enum", "is none of \(known)")
        }
        let limit = try request.number("limit", 1...mostNames) ?? usualNames
        let end = try EventEndpoints.time("to", request) ?? .now()
        let start = try EventEndpoints.time("from", request) ?? end.adding(milliseconds: -usualSpan)
        guard start <= end else { throw Problem.invalid("?from", "range", "is behind ?to") }
        let sheet: TallySheet
        do throws(HistoryError) { sheet = try book.tallies(from: start, to: end) } catch {
            throw EventEndpoints.problem(error)
        }
        var (named, others) = sheet.list(kind)
        for (_, tally) in named.dropFirst(limit) { others.add(tally) }
        named = Array(named.prefix(limit))
        return .json([
            "by": .string(kind.name),
            "from": QueueView.time(start.hour(roundedUp: false)),
            "to": QueueView.time(end.hour(roundedUp: true)),
            "items": .array(named.map { .object([JSON.Member("name", .string($0.name))] + members($0.tally, kind)) }),
            "others": others.isEmpty ? .null : .object(members(others, kind)),
        ])
    }

    private static func members(_ tally: Tally, _ kind: TallyKind) -> [JSON.Member] {
        let reasons = tally.bounced.sorted { $0.key.rawValue < $1.key.rawValue }
        // Where a message will go is not known when it is accepted.
        let countsMessages = kind == .tag || kind == .user
        return [
            JSON.Member("accepted", countsMessages ? .count(tally.accepted) : .null),
            JSON.Member("delivered", .count(tally.delivered)),
            JSON.Member("deferred", .count(tally.deferred)),
            JSON.Member("suppressed", .count(tally.suppressed)),
            JSON.Member("bounced", .count(tally.bouncedTotal)),
            JSON.Member("bounced_by_reason", .object(reasons.map { JSON.Member($0.key.name, .count($0.value)) })),
            JSON.Member("delay_p50_s", seconds(tally.delay(percent: 50))),
            JSON.Member("delay_p95_s", seconds(tally.delay(percent: 95))),
        ]
    }

    private static func seconds(_ milliseconds: Int64?) -> JSON {
        milliseconds.map { .number(Double($0) / 1_000) } ?? .null
    }
}

extension Timestamp {
    /// The whole hour before it, or behind it.
    fileprivate func hour(roundedUp: Bool) -> Timestamp {
        let hour: Int64 = 3_600_000
        let over = milliseconds % hour
        return adding(milliseconds: over == 0 ? 0 : (roundedUp ? hour : 0) - over)
    }
}
