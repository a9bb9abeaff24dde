// ReactionEndpoints.swift — what reactions of `limits.ini` hold down: list, show, let go.

import JSON
import Mail
import Queue

/// Operations on what reactions hold down.
enum ReactionEndpoints {
    /// `GET /v1/reactions`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let slowings = services.queue.slowings
        return .json([
            "items": .array(slowings.map(view)), "next": nil, "total": .count(slowings.count), "total_exact": true,
        ])
    }

    /// `GET /v1/reactions/{scope}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let scope = try scope(request)
        guard let found = services.queue.slowings.first(where: { $0.scope == scope }) else { throw missing }
        return .json(view(found))
    }

    /// `DELETE /v1/reactions/{scope}`.
    static func reset(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let scope = try scope(request)
        guard services.queue.endSlowing(scope, by: request.caller.name) else { throw missing }
        services.audit(request, Change(operation: "resetReaction", subject: "\(scope)"))
        return AdminResponse(204)
    }

    private static func view(_ slowing: Slowing) -> JSON {
        [
            "scope": .string("\(slowing.scope)"), "reaction": .string(slowing.reaction),
            "origin": .string(slowing.origin), "key": .string(slowing.kind.rawValue), "value": .string(slowing.text),
            "base": .string(slowing.baseText), "since": QueueView.time(slowing.since),
            "lowered_at": QueueView.time(slowing.loweredAt), "steps_at": QueueView.time(slowing.stepsAt),
            "said": .string(slowing.said),
        ]
    }

    private static func scope(_ request: AdminRequest) throws(Problem) -> LimitScope {
        guard let scope = LimitScope(request.parameter("scope")) else {
            throw Problem.invalid("/scope", "format", "is not lane, provider, source, sender or user with a name")
        }
        return scope
    }

    private static let missing = Problem.missing("reaction", in: "/v1/reactions")
}
