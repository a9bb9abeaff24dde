// ExplainEndpoint.swift — `/v1/explain`: which way a recipient's mail would go now, and why. Nothing is sent.

import Config
import Departure
import JSON
import Mail

/// The answer to "why does it go there?".
enum ExplainEndpoint {
    /// `GET /v1/explain?recipient&sender&user&client&listener&force_tls&require_tls&bulk`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([
            "recipient", "sender", "user", "client", "listener", "force_tls", "require_tls", "bulk",
        ])
        guard let text = request.value("recipient") else {
            throw Problem.invalid("?recipient", "required", "is missing: an address")
        }
        guard let given = EmailAddress(text) else {
            throw Problem.invalid("?recipient", "format", "is no address (a plus sign is %2B in a query)")
        }
        var envelope = Envelope(sender: .null, recipients: [])
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
        let settings = services.settings.current
        // Addresses are rewritten first; mail to a name of this machine then goes to others, as it does when it comes in.
        let way = try way(request, envelope, settings)
        let rewriter = settings.rewriting.rewriter(for: way, settings.listener)
        let said = envelope.sender
        envelope.sender = rewriter?.rewritten(said) ?? said
        let meant = rewriter?.rewritten(given, .recipients) ?? given
        let targets = settings.local.target(meant)
        var recipient = targets?.first ?? meant
        let staging = Staging.section(
            of: settings.rewriting.staging,
            for: way,
            from: envelope.sender,
            settings.listener
        )
        if case .redirect(let address)? = staging?.target { recipient = address }
        envelope.recipients = [Recipient(recipient)]
        var rewritten: JSON = ["recipient": JSON(given, .recipients, by: rewriter), "sender": nil]
        if case .address(let address) = said { rewritten["sender"] = JSON(address, .senders, by: rewriter) }
        envelope.notes.forceTLS = try request.flag("force_tls")
        envelope.requiresTLS = try request.flag("require_tls")
        let milters = settings.milters.filter { Self.sees($0, envelope, way, settings) }
        let (guide, asked) = (services.guide, envelope)
        let found = try services.wait { [recipient] in await guide.way(of: asked, to: recipient, settings) }
        return .json(
            JSON(
                found,
                alias: targets,
                rewritten: rewritten,
                staging: staging.map(view) ?? .null,
                returnPath: settings.rewriting.returnPaths.flatMap { $0.covers(asked.sender) ? "\($0.address)" : nil },
                milters: milters,
                isWhole: way.door == .api,
                bulkRules: try bulkRules(request, found, asked.sender, settings, services)
            )
        )
    }

    /// What the large providers ask for; the DNS is asked for it only where somebody wants to know.
    private static func bulkRules(
        _ request: AdminRequest,
        _ way: Itinerary,
        _ sender: ReversePath,
        _ settings: Settings,
        _ services: AdminServices
    ) throws(Problem) -> [Finding]? {
        guard try request.flag("bulk") else { return nil }
        let pointers = BulkRules.pointers(of: way, me: settings.me)
        guard case .address(let address) = sender else { return pointers }
        let guide = services.guide
        return try services.wait { await guide.bulkRules(of: address.domain, settings) } + pointers
    }

    /// Where mail of a system that tries things out goes instead; null is nobody.
    private static func view(_ staging: Staging) -> JSON {
        var redirect: String?
        if case .redirect(let address) = staging.target { redirect = "\(address)" }
        return ["redirect": .optional(redirect), "origin": .string(staging.origin)]
    }

    /// How mail comes in as the question says: by the API, or at a listener.
    private static func way(
        _ request: AdminRequest,
        _ envelope: Envelope,
        _ settings: Settings
    ) throws(Problem) -> WayIn {
        var way = WayIn(.smtp(nil), client: envelope.notes.client, login: envelope.user)
        if let text = request.value("listener") {
            let listener = settings.listener
            let named = listener.sections.first { $0.name.isSame(octets: text) }?.everywhere.first
            if let place = named ?? ListenAddress(text) {
                way.door = .smtp(place)
            } else if text.isSame(octets: Whose.api) {
                way.door = .api
            } else {
                throw Problem.invalid("?listener", "format", "is neither address:port, the name of a listener, nor api")
            }
        }
        return way
    }

    /// Whether a milter sees the mail.
    private static func sees(
        _ milter: MilterSettings,
        _ envelope: Envelope,
        _ way: WayIn,
        _ settings: Settings
    ) -> Bool {
        guard case .smtp(let here) = way.door else { return milter.concerns(envelope, by: .api, from: nil) }
        let client = (way.client, here, settings.listener.everywhere)
        return milter.concerns(envelope, by: .smtp, from: client) || milter.concerns(envelope, by: .smtps, from: client)
    }
}
