// StatsEndpoint.swift — `/v1/stats`: the queue in numbers, in one call whose cost does not depend on what is queued.

import Config
import Departure
import JSON
import Loop
import Mail
import Queue

/// The numbers that dashboards poll.
enum StatsEndpoint {
    /// `GET /v1/stats?top=N`, or `GET /v1/stats?by=…`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        if request.value("by") != nil { return try TallyEndpoint.show(request, services) }
        try request.allowQuery(["top"])
        let top = try request.number("top", 0...QueueSurvey.mostDestinations) ?? 10
        let now = Uptime.now()
        let statistics = services.queue.statistics(at: now)
        let counts = statistics.counts
        let traffic = statistics.traffic
        let value: JSON = [
            "in_progress": .count(counts.inProgress),
            "waiting": .count(counts.waiting),
            "temp_failed": .count(counts.tempFailed),
            "held": .count(counts.held),
            "dying": .count(counts.dying),
            "messages": .count(counts.messages),
            "queued_bytes": .count(statistics.bytes),
            "oldest_age_s": statistics.oldest.values.max().map { .integer($0) } ?? .null,
            "oldest_age_by_state_s": .object(
                QueuedState.allCases.map { state in
                    JSON.Member(state.name, statistics.oldest[state].map { .integer($0) } ?? .null)
                }
            ),
            "ages": .array(ages(statistics)),
            "disabled": .bool(statistics.isDisabled),
            "disabled_origin": .string(services.settings.health.ask { $0.switchOrigin.rawValue }),
            "config_errors": .array(services.settings.health.ask { $0.errors.map(problem) }),
            "totals": [
                "accepted": .count(traffic.accepted.total), "delivered": .count(traffic.delivered.total),
                "deferred": .count(traffic.deferred.total), "bounced": .count(traffic.bounced.total),
                "removed": .count(traffic.removed.total),
            ],
            "rates_per_s": [
                "accepted": rates(traffic.accepted, now), "delivered": rates(traffic.delivered, now),
                "deferred": rates(traffic.deferred, now), "bounced": rates(traffic.bounced, now),
            ],
            "refused_logins": .array(services.guide.refusals.prefix(top).map(refusal)),
            "destinations": .array(statistics.destinations.prefix(top).map(destination)),
            "destination_count": .count(statistics.destinationCount),
            "memory_for_mail_bytes": .count(statistics.memoryForMail),
            "free_bytes": statistics.freeBytes.map { .count($0) } ?? .null,
            "started_at": QueueView.time(services.startedAt),
            "version": .string(services.version),
        ]
        let bytes = value.bytes
        return .bytes(
            bytes,
            "application/json",
            headers: [HeaderField("ETag", EntityTags.of(bytes)), HeaderField("Cache-Control", "max-age=1")]
        )
    }

    private static func destination(_ destination: QueueStatistics.Destination) -> JSON {
        [
            "route": .string(QueueView.name(destination.lane)),
            "parcels": .count(destination.parcels),
            "waiting": .count(destination.ready),
            "in_progress": .count(destination.inFlight),
            "sessions": .count(destination.sessions),
            "session_limit": .count(destination.sessionLimit),
            "limited_by": .string(destination.limitedBy.rawValue),
            "rests_until": QueueView.time(destination.restsUntil),
        ]
    }

    /// A next hop that does not let us in, and what it said.
    private static func refusal(_ one: (host: MX, refusal: Refusal)) -> JSON {
        [
            "host": .string("\(one.host.exchange):\(one.host.port)"), "reply": .string(one.refusal.words),
            "at": QueueView.time(one.refusal.at),
        ]
    }

    /// What is broken in a file, whose last good version stays in force.
    private static func problem(_ error: ConfigError) -> JSON {
        [
            "file": .string(error.file), "line": error.line.map { .count($0) } ?? .null,
            "reason": .string(error.reason),
        ]
    }

    /// Messages by age; the last class has no end.
    private static func ages(_ statistics: QueueStatistics) -> [JSON] {
        statistics.ages.enumerated().map { index, count in
            let bound: JSON =
                index < QueueSurvey.ageBounds.count ? .integer(QueueSurvey.ageBounds[index]) : .null
            return ["up_to_s": bound, "messages": .count(count)]
        }
    }

    private static func rates(_ counter: RateCounter, _ now: Uptime) -> JSON {
        [
            "1m": .number(counter.rate(minutes: 1, at: now)), "5m": .number(counter.rate(minutes: 5, at: now)),
            "15m": .number(counter.rate(minutes: 15, at: now)),
        ]
    }
}
