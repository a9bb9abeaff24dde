// SourceHealthEndpoints.swift — how addresses of ours fare with each provider.

import JSON
import Mail
import Queue

/// `/v1/source-health`.
enum SourceHealthEndpoints {
    /// `GET /v1/source-health`: those that are blocked first.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (now, wall) = (Uptime.now(), Timestamp.now())
        let (items, total) = services.queue.sourceHealth(at: now)
        return .listing(items.map { view($0, now, wall) }, total: total)
    }

    private static func view(_ health: SourceHealth, _ now: Uptime, _ wall: Timestamp) -> JSON {
        let until = health.until.map { wall.adding(milliseconds: $0.milliseconds(since: now)) }
        return [
            "ip": .strings(health.addresses.map(\.description)), "place": .string(health.place),
            "healthy": .bool(health.isWell),
            "delivered": .count(health.counts[.delivered]), "deferred": .count(health.counts[.deferred]),
            "refused": .count(health.counts[.refused]), "blocked": .count(health.counts[.blocked]),
            "unreached": .count(health.counts[.unreached]),
            "until": QueueView.time(until), "said": .string(health.said),
        ]
    }
}
