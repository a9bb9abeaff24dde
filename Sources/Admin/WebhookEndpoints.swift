// WebhookEndpoints.swift — receivers of events: sections of `events.ini` as JSON, and what is done with them.
//
// Every answer about the sections carries the entity tag of the whole file. Secrets are write-only.

import Config
import JSON
import Loop
import Mail
import OpenSSL

/// Operations on webhooks: `/v1/webhooks`.
enum WebhookEndpoints: ConfigTable {
    static let file = ConfigFile.events
    static let words = TableWords(
        noun: "webhook",
        missing: .missing("webhook", in: "/v1/webhooks"),
        taken: "there is a webhook of that name already",
        areNamesJudged: false
    )

    /// What a client says of a receiver, and the secret of one that has none.
    struct Draft {
        let words: WebhookDraft
        let made: WebhookSettings.Key
        var isMade = false
    }

    static func rows(
        _ document: INIDocument?,
        _ settings: Settings,
        _ services: AdminServices
    ) -> [WebhookSettings.Endpoint] {
        settings.events.webhooks.endpoints
    }

    static func isNamed(_ row: WebhookSettings.Endpoint, _ key: String) -> Bool { row.name.isSame(octets: key) }

    static func has(_ key: String, _ document: INIDocument, _ services: AdminServices) -> Bool {
        document.sections.contains { $0.isSame(octets: WebhookSettings.section(key)) }
    }

    static func draft(
        _ request: AdminRequest,
        _ name: String,
        isPatch: Bool,
        _ services: AdminServices
    ) throws(Problem) -> Draft {
        Draft(words: try WebhookDraft(JSONObject(request.json(), at: ""), name: name), made: try newKey())
    }

    static func write(
        _ draft: inout Draft,
        _ key: String,
        over old: WebhookSettings.Endpoint?,
        isPatch: Bool,
        to document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem) {
        let section = WebhookSettings.section(key)
        draft.isMade = try draft.words.write(to: &document, section: section, isPatch: isPatch, made: draft.made)
    }

    static func secrets(_ draft: Draft) -> [JSON.Member] {
        draft.isMade ? [JSON.Member("secret", .string(draft.made.text.revealed))] : []
    }

    static func erase(_ key: String, from document: inout INIDocument, _ services: AdminServices) -> Bool {
        guard has(key, document, services) else { return false }
        document.removeSection(WebhookSettings.section(key))
        return true
    }

    static func removed(_ key: String, _ edit: Edit, _ consequences: [JSON.Member], _ services: AdminServices) -> JSON?
    {
        services.webhooks.forget(key)
        return nil
    }

    static func location(_ key: String) -> String? { "/v1/webhooks/\(key)" }

    static func logged(_ row: WebhookSettings.Endpoint) -> String {
        String(decoding: members(row).bytes, as: UTF8.self)
    }

    /// `POST /v1/webhooks/{name}/rotate`: a new secret, shown once; the old one signs too until `secret_previous` goes.
    static func rotate(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try request.object().finish()
        let (name, made, operation) = (try key(request), try newKey(), "rotate webhook secret")
        let section = WebhookSettings.section(name)
        let edit = try FileEdits.edit(file, request, services, operation: operation, key: name) {
            (document) throws(Problem) in
            guard has(name, document, services) else { throw words.missing }
            let old = document.value("secret", in: section) ?? ""
            try FileEdits.say("/secret") { () throws(ConfigError) in
                try document.set("secret_previous", to: old, in: section)
                try document.set("secret", to: made.text.revealed, in: section)
            }
        }
        guard let endpoint = row(name, nil, edit.after, services) else { throw words.missing }
        services.audit(request, Change(operation: operation, subject: name))
        var json = view(endpoint, services)
        json["secret"] = .string(made.text.revealed)
        var response = AdminResponse.json(json, headers: [FileEdits.tag(edit.revision)])
        response.holdsSecret = true
        return response
    }

    // MARK: - What is done with them

    /// `POST /v1/webhooks/{name}/test`.
    static func test(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try request.object().finish()
        let name = try known(request, services).name
        let control = services.webhooks
        guard let result = try services.wait({ await control.test(name) }) else { throw words.missing }
        services.audit(request, Change(operation: "testWebhook", subject: name))
        return .json(result)
    }

    /// `GET /v1/webhooks/{name}/deliveries`.
    static func deliveries(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["limit"])
        let limit = try request.number("limit", 1...100) ?? 100
        let items = services.webhooks.deliveries(try known(request, services).name, atMost: limit) ?? []
        return .listing(items)
    }

    /// `POST /v1/webhooks/{name}/enable`.
    static func enable(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try request.object().finish()
        let endpoint = try known(request, services)
        guard services.webhooks.enable(endpoint.name) else { throw words.missing }
        services.audit(request, Change(operation: "enableWebhook", subject: endpoint.name))
        return .json(view(endpoint, services))
    }

    /// `POST /v1/webhooks/{name}/replay`: times, or numbers of events.
    static func replay(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let name = try known(request, services).name
        var body = try request.object()
        let range = try range(&body)
        try body.finish()
        do throws(ReplayRefusal) {
            let numbers = try services.webhooks.replay(name, range)
            services.audit(
                request,
                Change(
                    operation: "replayWebhook",
                    subject: name,
                    after: "\(numbers.lowerBound) to \(numbers.upperBound)"
                )
            )
            return .json(
                [
                    "first_seq": .count(numbers.lowerBound), "last_seq": .count(numbers.upperBound),
                    "events_at_most": .count(numbers.upperBound - numbers.lowerBound + 1),
                ],
                status: 202
            )
        } catch {
            switch error {
            case .empty:
                throw Problem(
                    .gone,
                    "there are no events of that range, or none any more; GET /v1/events says which number is the oldest"
                )
            case .tooMany:
                throw Problem(.conflict, "a hundred ranges wait already; try again when some of them have been sent")
            case .unreadable(let reason): throw Problem(.unavailable, "the history cannot be read: \(reason)")
            }
        }
    }

    private static func range(_ body: inout JSONObject) throws(Problem) -> ReplayRange {
        let (from, to) = (body.take("from"), body.take("to"))
        switch (from, to) {
        case (.integer(let first)?, nil), (.integer(let first)?, .null?):
            guard first > 0 else { throw Problem.invalid("/from", "range", "the first event is 1") }
            return .numbers(UInt64(first)...UInt64(Int64.max))
        case (.integer(let first)?, .integer(let last)?):
            guard first > 0 else { throw Problem.invalid("/from", "range", "the first event is 1") }
            guard first <= last else { throw Problem.invalid("/to", "range", "is before from") }
            return .numbers(UInt64(first)...UInt64(last))
        case (.string(let text)?, _):
            guard let begin = Timestamp(rfc3339: text) else {
                throw Problem.invalid("/from", "format", "is no time such as 2027-01-31T12:00:00Z")
            }
            guard let to, to != .null else { return .times(begin, nil) }
            guard let end = to.string.flatMap({ Timestamp(rfc3339: $0) }) else {
                throw Problem.invalid("/to", "format", "is no time such as 2027-01-31T12:00:00Z")
            }
            guard begin < end else { throw Problem.invalid("/to", "range", "is not behind from") }
            return .times(begin, end)
        case (nil, _): throw Problem.invalid("/from", "required", "is missing: a time, or the number of an event")
        default: throw Problem.invalid("/from", "type", "from and to are two times, or two numbers of events")
        }
    }

    // MARK: - Parts

    static func view(_ endpoint: WebhookSettings.Endpoint, _ services: AdminServices) -> JSON {
        var json = members(endpoint)
        json["url"] = .string(endpoint.url)
        json["status"] = services.webhooks.status(endpoint.name) ?? .null
        return json
    }

    /// Everything but secrets, and the URL, which may hold a token: for the log too.
    private static func members(_ endpoint: WebhookSettings.Endpoint) -> JSON {
        [
            "name": .string(endpoint.name), "enabled": .bool(endpoint.isEnabled), "types": .strings(endpoint.types),
            "routes": .strings(endpoint.routes), "tags": .strings(endpoint.tags),
            "sender_domains": .strings(endpoint.senderDomains), "format": .string(endpoint.format.rawValue),
            "batch": .count(endpoint.batch), "concurrency": .count(endpoint.concurrency),
            "ordered": .bool(endpoint.isOrdered), "allow_private": .bool(endpoint.allowsPrivate),
            "timeout_s": .count(endpoint.timeout), "retry_first_s": .count(endpoint.retryFirst),
            "retry_max_s": .count(endpoint.retryMax), "secret_previous_set": .bool(endpoint.keys.count > 1),
        ]
    }

    private static func known(
        _ request: AdminRequest,
        _ services: AdminServices
    ) throws(Problem) -> WebhookSettings.Endpoint {
        guard let endpoint = row(request.parameter("name"), nil, services.settings.current, services) else {
            throw words.missing
        }
        return endpoint
    }

    static func key(_ request: AdminRequest) throws(Problem) -> String {
        let name = request.parameter("name")
        guard WebhookSettings.isName(name) else {
            throw .badName("name", "the name of a webhook has 1 to 64 letters, digits, dots, hyphens or underscores")
        }
        return name
    }

    private static func newKey() throws(Problem) -> WebhookSettings.Key {
        do throws(TLSError) {
            return WebhookSettings.Key(octets: try Secrets.random(32))
        } catch { throw .noRandomness }
    }
}
