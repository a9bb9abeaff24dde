// SessionEndpoints.swift — `/v1/session` and `/v1/sessions`: a token given once for a cookie, who one is, who is logged in, and
// the end of it.

import Config
import JSON
import Loop
import Mail

/// Logging in and out.
enum SessionEndpoints {
    /// `POST /v1/session`, with a token as for every other call: from now on the browser's cookie stands for it.
    static func begin(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try PageEndpoints.check(services)
        guard case .token(let digest) = request.caller.proof else {
            throw Problem(
                .conflict,
                "a session stands for a token: send one, Authorization: Bearer …; martlet token create makes it"
            )
        }
        let made = services.sessions.begin(
            token: request.caller.name,
            digest: digest,
            client: request.caller.address,
            agent: request.header("user-agent") ?? "",
            at: .now()
        )
        guard let made else { throw Problem.noRandomness }
        services.audit(request, Change(operation: "beginSession", subject: made.session.id))
        let seconds = BrowserSessions.longest / 1000
        var answer = AdminResponse.json(
            view(request.caller, made.session),
            status: 201,
            headers: [HeaderField("Set-Cookie", cookie(made.secret, seconds, request, services))]
        )
        answer.holdsSecret = true
        return answer
    }

    /// `GET /v1/session`: who asks, and what that may do.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        return .json(view(request.caller, own(request, services)))
    }

    /// `DELETE /v1/session`: logs out.
    static func end(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        if case .session(let id) = request.caller.proof, services.sessions.end(id) {
            services.audit(request, Change(operation: "endSession", subject: id))
        }
        return AdminResponse(204, headers: [HeaderField("Set-Cookie", cookie("", 0, request, services))])
    }

    /// `GET /v1/sessions`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let own = own(request, services)
        let sessions = services.sessions.list(at: .now()).sorted { $0.usedAt > $1.usedAt }
        let items: [JSON] = sessions.map { session in
            [
                "id": .string(session.id), "token": .string(session.token),
                "client": .optional(session.client.map { "\($0)" }), "agent": .string(session.agent),
                "created_at": .string(session.createdAt.rfc3339), "used_at": .string(session.usedAt.rfc3339),
                "expires_at": .string(session.expiresAt.rfc3339), "is_this": .bool(session.id == own?.id),
            ]
        }
        return .listing(items)
    }

    /// `DELETE /v1/sessions/{id}`.
    static func revoke(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let id = request.parameter("id")
        guard services.sessions.end(id) else {
            throw Problem(.notFound, "no such session; it may have ended: GET /v1/sessions shows those that there are")
        }
        services.audit(request, Change(operation: "revokeSession", subject: id))
        return AdminResponse(204)
    }

    private static func own(_ request: AdminRequest, _ services: AdminServices) -> BrowserSession? {
        guard case .session(let id) = request.caller.proof else { return nil }
        return services.sessions.list(at: .now()).first { $0.id == id }
    }

    private static func view(_ caller: Caller, _ session: BrowserSession?) -> JSON {
        let kind =
            switch caller.proof {
            case .token: session == nil ? "token" : "session"
            case .session: "session"
            case .none: caller.address == nil ? "socket" : "loopback"
            }
        return [
            "name": .string(caller.name),
            "kind": .string(kind),
            "scopes": .strings(AdminSettings.Scope.allCases.filter(caller.scopes.contains).map(\.rawValue)),
            "id": .optional(session?.id),
            "expires_at": .optional(session?.expiresAt.rfc3339),
        ]
    }

    /// The cookie: not for scripts, not for requests that other sites begin, over TLS only where there is TLS.
    private static func cookie(
        _ secret: String,
        _ seconds: Int64,
        _ request: AdminRequest,
        _ services: AdminServices
    ) -> String {
        let isSecure =
            services.settings.inForce.ask { $0.admin.certificate } != nil
            || request.header("x-forwarded-proto").map { $0.lowercasedASCII.isSame(octets: "https") } ?? false
        return
            "\(services.sessions.cookie(request.header("host")))=\(secret); Path=/; Max-Age=\(seconds); HttpOnly; SameSite=Strict"
            + (isSecure ? "; Secure" : "")
    }
}
