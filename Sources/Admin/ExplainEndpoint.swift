// ExplainEndpoint.swift — `/v1/explain`: which way a recipient's mail would go now, and why. Nothing is sent.

import Config
import Departure
import JSON
import Mail

/// The answer to "why does it go there?".
enum ExplainEndpoint {
    /// `GET /v1/explain?recipient&sender&user&client&force_tls&require_tls`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["recipient", "sender", "user", "client", "force_tls", "require_tls"])
        guard let text = request.value("recipient") else {
            throw Problem.invalid("?recipient", "required", "is missing: an address")
        }
        guard let given = EmailAddress(text) else {
            throw Problem.invalid("?recipient", "format", "is no address (a plus sign is %2B in a query)")
        }
        // Mail to a name of this machine goes to others from the moment it comes in.
        let targets = services.settings.current.local.target(given)
        let recipient = targets?.first ?? given
        var envelope = Envelope(sender: .null, recipients: [Recipient(recipient)])
        if let text = request.value("sender"), !text.isEmpty, text != "<>" {
            guard let address = EmailAddress(text) else {
                throw Problem.invalid("?sender", "format", "is neither an address nor <>")
            }
            envelope.sender = .address(address)
        }
        if let text = request.value("client") {
            guard let address = IPAddress(text) else { throw Problem.invalid("?client", "format", "is no IP address") }
            envelope.notes.client = address
        }
        envelope.user = request.value("user")
        envelope.notes.forceTLS = try request.flag("force_tls")
        envelope.requiresTLS = try request.flag("require_tls")
        let (guide, settings, asked) = (services.guide, services.settings.current, envelope)
        return .json(JSON(try services.wait { await guide.way(of: asked, to: recipient, settings) }, alias: targets))
    }
}
