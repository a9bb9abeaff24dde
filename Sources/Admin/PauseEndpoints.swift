// PauseEndpoints.swift — scopes that somebody stopped: list, stop, let go on.

import JSON
import Mail
import Queue

/// Operations on pauses.
enum PauseEndpoints {
    /// `GET /v1/pauses`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        return .listing(services.queue.pauses.map(view))
    }

    /// `GET /v1/pauses/{scope}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let scope = try scope(request.parameter("scope"), at: "/scope")
        guard let pause = services.queue.pauses.first(where: { $0.scope == scope }) else { throw missing }
        return .json(view(pause))
    }

    /// `POST /v1/pauses`: in force when it is answered; what is in flight is finished.
    static func pause(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        var body = try request.object()
        guard let text = try body.string("scope", atMost: 300) else {
            throw Problem.invalid("/scope", "required", "is missing: all, or a kind and a name")
        }
        let reason = try body.string("reason", atMost: 200)
        let until = try RequestTime.upcoming(try body.string("until"), "/until")
        try body.finish()
        let scope = try scope(text, at: "/scope")
        let isNew = !services.queue.pauses.contains { $0.scope == scope }
        let pause = Pause(scope, since: .now(), until: until, reason: reason ?? "", by: request.caller.name)
        let isWritten = services.queue.pause(pause)
        services.audit(
            request,
            Change(operation: "pause", subject: "\(scope)", after: pause.reason)
        )
        var answer = view(pause)
        if case .object(let members) = answer {
            answer = .object(members + [JSON.Member("persisted", .bool(isWritten))])
        }
        return .json(answer, status: isNew ? 201 : 200)
    }

    /// `DELETE /v1/pauses/{scope}`.
    static func resume(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let scope = try scope(request.parameter("scope"), at: "/scope")
        guard services.queue.resume(scope, by: request.caller.name) != nil else { throw missing }
        services.audit(request, Change(operation: "resume", subject: "\(scope)"))
        return AdminResponse(204)
    }

    /// A pause as it is shown.
    static func view(_ pause: Pause) -> JSON {
        [
            "scope": .string("\(pause.scope)"), "reason": .string(pause.reason), "by": .string(pause.actor),
            "since": QueueView.time(pause.since), "until": QueueView.time(pause.until),
        ]
    }

    private static func scope(_ text: String, at pointer: String) throws(Problem) -> LimitScope {
        guard let scope = LimitScope(text) else {
            throw Problem.invalid(
                pointer,
                "format",
                "is not all, nor provider, lane, route, source, domain, sender or user with a name"
            )
        }
        guard !scope.name.isSame(octets: "*") else {
            throw Problem.invalid(pointer, "format", "names everything of a kind; \"all\" pauses all mail")
        }
        return scope
    }

    private static let missing = Problem.missing("pause", in: "/v1/pauses")
}
