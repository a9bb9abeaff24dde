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
    static func route(_ route: Routes.Entry, from variable: String?) -> JSON {
        var members = [
            JSON.Member("match", .string(route.match)),
            JSON.Member("direct", .bool(route.isDirect)),
            JSON.Member("mx", .array(route.hosts.map(\.json))),
            JSON.Member("origin", .string(variable == nil ? "file" : "environment")),
        ]
        switch route.way {
        case .reject(let reply): members.append(JSON.Member("reject", .string("\(reply)")))
        case .discard(let text): members.append(JSON.Member("discard", .string(text)))
        case .hosts, .direct: break
        }
        if let variable { members.append(JSON.Member("variable", .string(variable))) }
        return .object(members)
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
