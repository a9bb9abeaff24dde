// DestinationEndpoints.swift — next hops: what waits for them, what limits and pauses them, their breakers.

import Config
import Departure
import JSON
import Loop
import Mail
import Queue

/// Operations on next hops.
enum DestinationEndpoints {
    /// `GET /v1/destinations?limit=N`: those that most waits for.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["limit"])
        let most = try request.number("limit", 1...QueueSurvey.mostDestinations) ?? 100
        let (now, wall) = (Uptime.now(), Timestamp.now())
        let statistics = services.queue.statistics(at: now)
        let lanes = statistics.destinations.prefix(most).map(\.lane)
        let items = lanes.map { view(services.queue.destination($0, at: now), now, wall) }
        return .listing(items, total: statistics.destinationCount)
    }

    /// `GET /v1/destinations/{lane}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let name = try name(request)
        let (now, wall) = (Uptime.now(), Timestamp.now())
        let found = services.queue.destinations(named: name, usual: lane(name, services), at: now)
        return .json(["route": .string(name), "lanes": .array(found.map { view($0, now, wall) })])
    }

    /// `POST /v1/destinations/{lane}/reset`: its breaker is closed; limits and pauses stay.
    static func reset(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try request.object().finish()
        let name = try name(request)
        let count = services.queue.reset(named: name, at: .now())
        services.audit(request, Change(operation: "resetDestination", subject: name, after: "\(count)"))
        return .json(["route": .string(name), "reset": .count(count)])
    }

    // MARK: - Parts

    private static func name(_ request: AdminRequest) throws(Problem) -> String {
        guard let scope = LimitScope("lane", request.parameter("lane")) else {
            throw Problem.invalid("/lane", "format", "is no name of a next hop")
        }
        return scope.name
    }

    /// The lane that mail for such a name would take where none is there.
    private static func lane(_ name: String, _ services: AdminServices) -> Lane {
        if services.settings.inForce.ask({ $0.routes.route(named: name) }) != nil { return .route(name) }
        return Domain(name).map { .domain($0) } ?? .route(name)
    }

    private static func view(_ found: DestinationReport, _ now: Uptime, _ wall: Timestamp) -> JSON {
        func time(_ uptime: Uptime?) -> JSON {
            QueueView.time(uptime.map { wall.adding(milliseconds: $0.milliseconds(since: now)) })
        }
        let report = found.report
        return [
            "route": .string(QueueView.name(found.lane)),
            "lane": .string("\(found.lane)"),
            "parcels": .count(report?.parcels ?? 0),
            "waiting": .count(report?.ready ?? 0),
            "in_progress": .count(report?.inFlight ?? 0),
            "held": .count(report?.held ?? 0),
            "sessions": .count(report?.sessions ?? 0),
            "session_limit": report.map { .count($0.sessionLimit) } ?? nil,
            "limited_by": report.map { .string($0.limitedBy.rawValue) } ?? nil,
            "breaker": [
                "state": .string((found.breaker?.state ?? .closed).rawValue),
                "failures": .count(found.breaker?.rests ?? 0),
                "since": time(found.breaker?.since),
                "next_probe_at": time(found.breaker?.nextProbe),
                "said": .string(found.breaker?.said ?? ""),
            ],
            "limits": limits(found.standing, now, wall),
            "pauses": .array(found.standing.pauses.map(PauseEndpoints.view)),
            "source_pool": pool(found.pool, now, wall),
            "estimated_send_at": time(found.estimatedEnd),
        ]
    }

    /// Who of a pool takes mail, and why others do not.
    static func pool(_ pool: PoolStanding?, _ now: Uptime, _ wall: Timestamp) -> JSON {
        guard let pool else { return nil }
        return [
            "name": .string(pool.name), "origin": .string(pool.origin),
            "members": .array(
                pool.members.map { member in
                    [
                        "ip": .strings(member.source.addresses.map(\.description)),
                        "helo": .optional(member.source.helo?.name), "weight": .count(member.weight),
                        "takes_mail": .bool(member.because == nil), "because": .optional(member.because),
                        "until": QueueView.time(
                            member.until.map { wall.adding(milliseconds: $0.milliseconds(since: now)) }
                        ),
                    ]
                }
            ),
        ]
    }

    /// Limits as they are shown: of a next hop, and by `explain`.
    static func limits(_ standing: Standing, _ now: Uptime, _ wall: Timestamp) -> JSON {
        .array(
            standing.limits.map { limit in
                [
                    "key": .string(limit.key.rawValue), "value": .string(limit.text),
                    "scope": .string("\(limit.scope)"), "origin": .string(limit.origin),
                    "applies": .bool(limit.applies), "used": limit.used.map { .count($0) } ?? nil,
                    "opens_at": QueueView.time(
                        limit.opens.map { wall.adding(milliseconds: $0.milliseconds(since: now)) }
                    ),
                ]
            }
        )
    }
}
