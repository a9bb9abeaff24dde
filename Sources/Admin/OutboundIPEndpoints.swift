// OutboundIPEndpoints.swift — source addresses: sections of `outbound_ip.ini` as JSON.

import Config
import Mail

/// Operations on `outbound_ip.ini`.
enum OutboundIPEndpoints {
    private static let file = ConfigFile.outboundIPs

    /// `GET /v1/outbound-ips`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (document, revision) = try FileEdits.document(file, services)
        let items = OutboundIPs.entries(in: document).map(view)
        return .json(
            ["items": .array(items), "next": nil, "total": .count(items.count), "total_exact": true],
            headers: [FileEdits.tag(revision), HeaderField("Cache-Control", "no-cache")]
        )
    }

    /// `GET /v1/outbound-ips/{match}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (document, revision) = try FileEdits.document(file, services)
        guard let match = name(request.parameter("match")),
            let entry = OutboundIPs.entries(in: document).first(where: { $0.match == match })
        else { throw Problem(.notFound, "there is no binding of that name") }
        return .json(view(entry), headers: [FileEdits.tag(revision), HeaderField("Cache-Control", "no-cache")])
    }

    /// `PUT /v1/outbound-ips/{match}`.
    static func put(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let match = try match(request)
        let entry = try entry(request, match)
        var isNew = false
        let isCreateOnly = request.header("if-none-match") == "*"
        var exists = false
        let edit: Edit
        do throws(Problem) {
            edit = try FileEdits.edit(file, request, services, operation: "put outbound ip", key: match) {
                (document) throws(EditError) in
                isNew = !OutboundIPs.entries(in: document).contains { $0.match == match }
                exists = isCreateOnly && !isNew
                if exists { throw .missing(match) }
                try OutboundIPs.put(entry, in: &document)
            }
        } catch {
            throw exists ? Problem(.stale, "there is a binding of that name already") : error
        }
        let after = try FileEdits.document(file, services).document
        let now = OutboundIPs.entries(in: after).first { $0.match == match } ?? entry
        if edit.isChanged {
            let text = String(decoding: view(now).bytes, as: UTF8.self)
            services.audit(request, Change(operation: "putOutboundIP", subject: match, after: text))
        }
        return .json(view(now), status: isNew ? 201 : 200, headers: [FileEdits.tag(edit.revision)])
    }

    /// `DELETE /v1/outbound-ips/{match}`.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let match = try match(request)
        let edit = try FileEdits.edit(file, request, services, operation: "delete outbound ip", key: match) {
            (document) throws(EditError) in
            try OutboundIPs.remove(match, in: &document)
        }
        services.audit(request, Change(operation: "removeOutboundIP", subject: match))
        return AdminResponse(204, headers: [FileEdits.tag(edit.revision)])
    }

    // MARK: - Parts

    private static func view(_ entry: OutboundIPEntry) -> JSON {
        [
            "match": .string(entry.match),
            "ip": .strings(entry.addresses.map { "\($0)" }),
            "helo": .optional(entry.helo?.name),
        ]
    }

    /// The normal form; a bare address or domain is a recipient's.
    private static func name(_ text: String) -> String? {
        OutboundIPs.normalized(text) ?? OutboundIPs.normalized("recipient \(text)")
    }

    private static func match(_ request: AdminRequest) throws(Problem) -> String {
        guard let match = name(request.parameter("match")) else {
            throw Problem(
                .invalid,
                "the name of a binding is \"sender X\", \"recipient X\", \"user X\", \"client NETWORK\" or *",
                issues: [Problem.Issue("/match", "format", "is no such name")]
            )
        }
        return match
    }

    private static func entry(_ request: AdminRequest, _ match: String) throws(Problem) -> OutboundIPEntry {
        var body = try JSONObject(request.json(), at: "")
        if let given = try body.string("match"), name(given) != match {
            throw Problem.invalid("/match", "exclusive", "is another name than the path's")
        }
        var addresses: [IPAddress] = []
        for (index, text) in (try body.strings("ip", atMost: 2) ?? []).enumerated() {
            guard let address = IPAddress(text) ?? IPAddress(literal: text) else {
                throw Problem.invalid("/ip/\(index)", "format", "is no IP address")
            }
            addresses.append(address)
        }
        guard !addresses.isEmpty else {
            throw Problem.invalid("/ip", "required", "is missing: an address, or one of each family")
        }
        var helo: Domain?
        if let text = try body.string("helo") {
            guard let domain = Domain(text) else { throw Problem.invalid("/helo", "format", "is no host name") }
            helo = domain
        }
        try body.finish()
        return OutboundIPEntry(match: match, addresses: addresses, helo: helo)
    }
}
