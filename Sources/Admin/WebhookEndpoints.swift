// WebhookEndpoints.swift — receivers of events: sections of `events.ini` as JSON, and what is done with them.
//
// Every answer about the sections carries the entity tag of the whole file. Secrets are write-only.

import Config
import JSON
import Loop
import Mail
import OpenSSL

/// Operations on webhooks.
enum WebhookEndpoints {
    private static let file = ConfigFile.events

    /// `GET /v1/webhooks`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (_, headers) = try FileEdits.shown(file, services)
        let all = services.settings.current.events.webhooks.endpoints
        return .json(
            [
                "items": .array(all.map { view($0, services) }), "next": nil, "total": .count(all.count),
                "total_exact": true,
            ],
            headers: headers
        )
    }

    /// `GET /v1/webhooks/{name}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let endpoint = try known(request, services)
        return .json(view(endpoint, services), headers: try FileEdits.shown(file, services).headers)
    }

    /// `PUT /v1/webhooks/{name}`.
    static func put(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, isPatch: false)
    }

    /// `PATCH /v1/webhooks/{name}`: what is left out stays.
    static func patch(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, isPatch: true)
    }

    private static func change(
        _ request: AdminRequest,
        _ services: AdminServices,
        isPatch: Bool
    ) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let name = try name(request)
        let draft = try WebhookDraft(JSONObject(request.json(), at: ""), name: name)
        let made = try newKey()
        var (isNew, isMade) = (false, false)
        let edit = try edited(request, services, isPatch ? "patch webhook" : "put webhook", name) {
            (document, section) throws(Problem) in
            isNew = !document.sections.contains { $0.isSame(octets: section) }
            guard !isPatch || !isNew else { throw missing }
            guard request.header("if-none-match") != "*" || isNew else {
                throw Problem(.stale, "there is a webhook of that name already")
            }
            isMade = try draft.write(to: &document, section: section, isPatch: isPatch, made: made)
        }
        return try answer(name, edit, services, status: isNew ? 201 : 200, secret: isMade ? made : nil)
    }

    /// `DELETE /v1/webhooks/{name}`.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let name = try name(request)
        let edit = try edited(request, services, "delete webhook", name) { (document, section) throws(Problem) in
            guard document.sections.contains(where: { $0.isSame(octets: section) }) else { throw missing }
            document.removeSection(section)
        }
        services.webhooks.forget(name)
        return AdminResponse(204, headers: [FileEdits.tag(edit.revision)])
    }

    /// `POST /v1/webhooks/{name}/rotate`: a new secret, shown once; the old one signs too until `secret_previous` goes.
    static func rotate(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try request.object().finish()
        let name = try name(request)
        let made = try newKey()
        let edit = try edited(request, services, "rotate webhook secret", name) { (document, section) throws(Problem) in
            guard document.sections.contains(where: { $0.isSame(octets: section) }) else { throw missing }
            let old = document.value("secret", in: section) ?? ""
            try FileEdits.say("/secret") { () throws(ConfigError) in
                try document.set("secret_previous", to: old, in: section)
                try document.set("secret", to: made.text.revealed, in: section)
            }
        }
        return try answer(name, edit, services, status: 200, secret: made)
    }

    // MARK: - What is done with them

    /// `POST /v1/webhooks/{name}/test`.
    static func test(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try request.object().finish()
        let name = try known(request, services).name
        let control = services.webhooks
        guard let result = try services.wait({ await control.test(name) }) else { throw missing }
        services.audit(request, Change(operation: "testWebhook", subject: name))
        return .json(result)
    }

    /// `GET /v1/webhooks/{name}/deliveries`.
    static func deliveries(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["limit"])
        let limit = try request.number("limit", 1...100) ?? 100
        let items = services.webhooks.deliveries(try known(request, services).name, atMost: limit) ?? []
        return .json([
            "items": .array(items), "next": nil, "total": .count(items.count), "total_exact": true,
        ])
    }

    /// `POST /v1/webhooks/{name}/enable`.
    static func enable(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try request.object().finish()
        let endpoint = try known(request, services)
        guard services.webhooks.enable(endpoint.name) else { throw missing }
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
            case .empty: throw Problem(.gone, "there are no events of that range, or none any more")
            case .tooMany: throw Problem(.conflict, "a hundred ranges wait already")
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

    private static func edited(
        _ request: AdminRequest,
        _ services: AdminServices,
        _ operation: String,
        _ name: String,
        _ change: (inout INIDocument, String) throws(Problem) -> Void
    ) throws(Problem) -> Edit {
        let edit = try FileEdits.edit(file, request, services, operation: operation, key: name) {
            (document) throws(Problem) in
            try change(&document, WebhookSettings.section(name))
        }
        if edit.isChanged {
            func shown(_ settings: Settings) -> String {
                endpoint(name, settings).map { String(decoding: members($0).bytes, as: UTF8.self) } ?? ""
            }
            services.audit(
                request,
                Change(operation: operation, subject: name, before: shown(edit.before), after: shown(edit.after))
            )
        }
        return edit
    }

    private static func answer(
        _ name: String,
        _ edit: Edit,
        _ services: AdminServices,
        status: Int,
        secret: WebhookSettings.Key?
    ) throws(Problem) -> AdminResponse {
        guard let endpoint = endpoint(name, edit.after) else { throw missing }
        var json = view(endpoint, services)
        if let secret { json["secret"] = .string(secret.text.revealed) }
        var response = AdminResponse.json(
            json,
            status: status,
            headers: [FileEdits.tag(edit.revision)]
                + (status == 201 ? [HeaderField("Location", "/v1/webhooks/\(name)")] : [])
        )
        response.holdsSecret = secret != nil
        return response
    }

    private static func view(_ endpoint: WebhookSettings.Endpoint, _ services: AdminServices) -> JSON {
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

    private static func endpoint(_ name: String, _ settings: Settings) -> WebhookSettings.Endpoint? {
        settings.events.webhooks.endpoints.first { $0.name.isSame(octets: name) }
    }

    private static func known(
        _ request: AdminRequest,
        _ services: AdminServices
    ) throws(Problem) -> WebhookSettings.Endpoint {
        guard let endpoint = endpoint(request.parameter("name"), services.settings.current) else { throw missing }
        return endpoint
    }

    private static func name(_ request: AdminRequest) throws(Problem) -> String {
        let name = request.parameter("name")
        guard WebhookSettings.isName(name) else {
            throw Problem(
                .invalid,
                "the name of a webhook has 1 to 64 letters, digits, dots, hyphens or underscores",
                issues: [Problem.Issue("/name", "format", "is no such name")]
            )
        }
        return name
    }

    private static func newKey() throws(Problem) -> WebhookSettings.Key {
        do throws(TLSError) {
            return WebhookSettings.Key(octets: try Secrets.random(32))
        } catch { throw Problem(.internalError, "there is no randomness for a secret") }
    }

    private static let missing = Problem(.notFound, "there is no webhook of that name")
}
