// TLSReportEndpoints.swift — `/v1/tls-reports`: what domains will be told of how mail to them was protected, and what became of
// earlier reports (RFC 8460).

import Config
import Departure
import JSON
import Mail

/// What domains are told of TLS.
enum TLSReportEndpoints {
    /// `GET /v1/tls-reports`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["domain"])
        var wanted: Domain?
        if let text = request.value("domain") {
            guard let domain = Domain(text) else { throw .invalid("?domain", "format", "is no domain") }
            wanted = domain
        }
        let book = services.guide.tlsResults
        let items = book.results.json.elements.filter { item in
            wanted.map { $0.name.isSame(octets: item["domain"]?.string ?? "") } ?? true
        }
        let sent = book.sendings.reversed().filter { wanted == nil || $0.domain == wanted }.map { sending -> JSON in
            [
                "time": .string(sending.time.rfc3339), "domain": .string(sending.domain.name),
                "target": .string(sending.target), "trouble": .optional(sending.trouble),
            ]
        }
        let contact = services.settings.current.outbound.tlsReportContact
        return .json([
            "contact": .optional(contact?.description), "items": .array(items), "sent": .array(Array(sent)),
        ])
    }
}
