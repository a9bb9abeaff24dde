// RouteView.swift — routes as JSON in normal form, and what a change of the table means for queued mail.

import Config
import JSON
import Mail
import Queue

/// Route values as JSON; secrets never are.
enum RouteView {
    /// Messages looked at to count those whose next hop changes.
    private static let mostCounted = 20_000

    /// A section.
    ///
    /// - Parameter variable: of the environment, which says it in place of the file; nil: the file does.
    static func route(_ route: Routes.Route, from variable: String?) -> JSON {
        var members = [
            JSON.Member("match", .string(route.match)),
            JSON.Member("direct", .bool(route.isDirect)),
            JSON.Member("mx", .array(route.hosts.map(host))),
            JSON.Member("origin", .string(variable == nil ? "file" : "environment")),
        ]
        if let variable { members.append(JSON.Member("variable", .string(variable))) }
        return .object(members)
    }

    /// A place to try: the document's MX object.
    static func host(_ mx: MX) -> JSON {
        var members: [JSON.Member] = [
            JSON.Member("priority", .count(mx.priority)),
            JSON.Member("exchange", .string(mx.exchange)),
            JSON.Member("port", mx.isSocket ? .null : .count(mx.port)),
            JSON.Member("bind", .optional(mx.bind.map { "\($0)" })),
            JSON.Member("bind_helo", .optional(mx.bindHelo?.name)),
            JSON.Member("using_lmtp", .bool(mx.usingLMTP)),
            JSON.Member("auth_user", .optional(mx.auth?.user)),
            JSON.Member("auth_pass_set", .bool(hasPassword(mx))),
            JSON.Member("auth_type", .optional(mx.auth?.mechanism?.rawValue.lowercased())),
            JSON.Member("tls", .optional(mx.tls?.description)),
            JSON.Member("implicit_tls", .bool(mx.implicitTLS)),
            JSON.Member("on_auth_unavailable", .string(mx.onAuthUnavailable.rawValue)),
        ]
        if case .grant(let grant)? = mx.auth?.proof {
            members += [
                JSON.Member("oauth_token_url", .string(grant.tokenURL)),
                JSON.Member("oauth_client_id", .string(grant.clientID)),
                JSON.Member("oauth_client_secret_set", .bool(grant.clientSecret != nil)),
                JSON.Member("oauth_refresh_token_set", true),
                JSON.Member("oauth_scope", .optional(grant.scope)),
            ]
        }
        return .object(members)
    }

    private static func hasPassword(_ mx: MX) -> Bool {
        if case .password? = mx.auth?.proof { true } else { false }
    }

    /// Queued messages with a recipient whose next hop is another now.
    static func rerouted(_ edit: Edit, _ queue: MailQueue) -> (count: Int, isExact: Bool) {
        let (before, after) = (edit.before.routes, edit.after.routes)
        guard before != after else { return (0, true) }
        var count = 0
        var seen = 0
        queue.forEach(QueueFilter()) { row in
            seen += 1
            let isOther = row.recipients.contains { recipient in
                before.route(for: recipient, from: row.sender) != after.route(for: recipient, from: row.sender)
            }
            if isOther { count += 1 }
            return seen < mostCounted
        }
        return (count, seen < mostCounted)
    }
}
