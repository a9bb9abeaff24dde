// Settings+Lane.swift — which next hop a recipient's mail is filed under, and which address it leaves from: pure policy,
// row by row in `Tests/Tables/lanes.table`.

package import Config
package import Loop
package import Mail

/// Who decided where mail leaves from.
package enum SourceCause: String, Hashable, Sendable {
    /// A note of the message: `outbound_ip`, `outbound_helo`.
    case note
    /// A section of `outbound_ip.ini`.
    case table = "outbound_ip"
    /// Nobody: the operating system chooses.
    case system = "operating_system"
}

/// What decides under which next hop a recipient's mail is filed; two of the settings, since each mail asks them.
package struct LaneRules {
    private let routes: Routes
    private let outboundIPs: OutboundIPs

    /// Of a version in force, without a copy of the rest of it.
    package init(_ version: InForce<Settings>.Version) {
        routes = version.value.routes
        outboundIPs = version.value.outboundIPs
    }

    fileprivate init(_ settings: Settings) { (routes, outboundIPs) = (settings.routes, settings.outboundIPs) }

    fileprivate func source(
        for recipient: EmailAddress,
        of envelope: Envelope,
        by route: Routes.Entry?
    ) -> (source: Source?, because: SourceCause) {
        let notes = envelope.notes
        if let address = notes.outboundIP {
            return (Source([address], helo: notes.outboundHelo ?? outboundIPs.name(of: address)), .note)
        }
        guard let source = outboundIPs.binding(for: recipient, of: envelope, by: route?.match)?.source else {
            return notes.source.map { ($0, .note) } ?? (nil, .system)
        }
        guard let helo = notes.outboundHelo else { return (source, .table) }
        if source.isAnyOfPool, let pool = source.pool { return (Source(anyOf: pool, helo: helo), .table) }
        return (Source(source.addresses, helo: helo) ?? source, .table)
    }

    /// The next hop a recipient would take now.
    package func lane(for recipient: EmailAddress, of envelope: Envelope) -> Lane {
        let route = routes.route(for: recipient, from: envelope.sender)
        return Lane(
            route.flatMap { $0.isDirect ? nil : .route($0.match) } ?? .domain(recipient.domain),
            from: source(for: recipient, of: envelope, by: route).source,
            tls: envelope.leastTLS
        )
    }
}

extension Settings {
    /// Where mail for a recipient leaves from unless the MX has a `bind`: the note, else the table, else as the system likes.
    ///
    /// Which address of a pool it is, the queue says.
    package func source(
        for recipient: EmailAddress,
        of envelope: Envelope
    ) -> (source: Source?, because: SourceCause) {
        let route = outboundIPs.asksRoutes ? routes.route(for: recipient, from: envelope.sender) : nil
        return LaneRules(self).source(for: recipient, of: envelope, by: route)
    }

    /// The next hop a recipient would take now.
    package func lane(for recipient: EmailAddress, of envelope: Envelope) -> Lane {
        LaneRules(self).lane(for: recipient, of: envelope)
    }
}
