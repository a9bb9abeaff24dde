// ExplainEndpoint.swift — `/v1/explain`: which way a recipient's mail would go now, and why. Nothing is sent.

import Mail

/// The answer to "why does it go there?".
enum ExplainEndpoint {
    /// `GET /v1/explain?recipient&sender`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["recipient", "sender"])
        guard let text = request.value("recipient") else {
            throw Problem.invalid("?recipient", "required", "is missing: an address")
        }
        guard let recipient = EmailAddress(text) else {
            throw Problem.invalid("?recipient", "format", "is no address (a plus sign is %2B in a query)")
        }
        var sender = ReversePath.null
        if let text = request.value("sender"), !text.isEmpty, text != "<>" {
            guard let address = EmailAddress(text) else {
                throw Problem.invalid("?sender", "format", "is neither an address nor <>")
            }
            sender = .address(address)
        }
        let (explain, path) = (services.explain, sender)
        return .json(try services.wait { await explain(recipient, path) })
    }
}
