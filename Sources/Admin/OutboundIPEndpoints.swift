// OutboundIPEndpoints.swift — source addresses: sections of `outbound_ip.ini` as JSON.

import Config
import JSON
import Mail

/// Operations on `outbound_ip.ini`.
enum OutboundIPEndpoints {
    private static let file = ConfigFile.outboundIPs

    /// `GET /v1/outbound-ips`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (entries, headers) = try table(services)
        return .json(
            [
                "items": .array(entries.map(view)), "next": nil, "total": .count(entries.count), "total_exact": true,
            ],
            headers: headers
        )
    }

    /// `GET /v1/outbound-ips/{match}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (entries, headers) = try table(services)
        guard let match = name(request.parameter("match")), let entry = entries.first(where: { $0.match == match })
        else { throw missing }
        return .json(view(entry), headers: headers)
    }

    /// The bindings in the order of the file; those in force where the file is broken.
    private static func table(_ services: AdminServices) throws(Problem) -> ([OutboundIPEntry], [HeaderField]) {
        let (document, headers) = try FileEdits.shown(file, services)
        let entries =
            document.map { OutboundIPs.entries(in: $0) } ?? services.settings.current.outboundIPs.entries
        return (entries, headers)
    }

    /// `PUT /v1/outbound-ips/{match}`.
    static func put(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        let match = try match(request)
        let draft = try draft(request, match, services)
        guard let addresses = draft.addresses else {
            throw Problem.invalid("/ip", "required", "is missing: an address, or one of each family")
        }
        let isCreateOnly = request.header("if-none-match") == "*"
        return try edited(request, services, "putOutboundIP", match) { (old) throws(Problem) in
            guard old == nil || !isCreateOnly else {
                throw Problem(.stale, "there is a binding of that name already")
            }
            return OutboundIPEntry(match: match, addresses: addresses, helo: draft.helo)
        }
    }

    /// `PATCH /v1/outbound-ips/{match}`: what is left out stays.
    static func patch(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        let match = try match(request)
        let draft = try draft(request, match, services)
        return try edited(request, services, "editOutboundIP", match) { (old) throws(Problem) in
            guard let old else { throw missing }
            return OutboundIPEntry(
                match: match,
                addresses: draft.addresses ?? old.addresses,
                helo: draft.namesHelo ? draft.helo : old.helo
            )
        }
    }

    /// `DELETE /v1/outbound-ips/{match}`.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let match = try match(request)
        let edit = try FileEdits.edit(file, request, services, operation: "delete outbound ip", key: match) {
            (document) throws(Problem) in
            guard OutboundIPs.remove(match, in: &document) else { throw missing }
        }
        if let rehearsal = FileEdits.rehearsal(edit) { return rehearsal }
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

    /// What a body says.
    private struct Wanted {
        var addresses: [IPAddress]?
        var helo: Domain?
        var namesHelo = false
    }

    private static func draft(
        _ request: AdminRequest,
        _ match: String,
        _ services: AdminServices
    ) throws(Problem) -> Wanted {
        try FileEdits.allowDryRun(request)
        var body = try JSONObject(request.json(), at: "")
        try body.refuseNull("match")
        if let given = try body.string("match"), name(given) != match {
            throw Problem.invalid("/match", "exclusive", "is another name than the path's")
        }
        var draft = Wanted()
        if body.names.contains(where: { $0.isSame(octets: "ip") }) {
            draft.addresses = try addresses(&body, services.settings.isLocal)
        }
        draft.namesHelo = body.names.contains { $0.isSame(octets: "helo") }
        if let text = try body.string("helo") {
            guard let domain = Domain(text) else { throw Problem.invalid("/helo", "format", "is no host name") }
            draft.helo = domain
        }
        try body.finish()
        return draft
    }

    private static func addresses(
        _ body: inout JSONObject,
        _ isLocal: LocalAddressCheck
    ) throws(Problem) -> [IPAddress] {
        var addresses: [IPAddress] = []
        for (index, text) in (try body.strings("ip", atMost: 2) ?? []).enumerated() {
            guard let address = IPAddress(text) ?? IPAddress(literal: text) else {
                throw Problem.invalid("/ip/\(index)", "format", "is no IP address")
            }
            guard isLocal(address) else {
                throw Problem.invalid("/ip/\(index)", "invalid", "\(address) is not an address of this machine")
            }
            addresses.append(address)
        }
        guard !addresses.isEmpty else {
            throw Problem.invalid("/ip", "required", "is missing: an address, or one of each family")
        }
        return addresses
    }

    /// Writes what `change` makes of a binding, which may not be there yet.
    private static func edited(
        _ request: AdminRequest,
        _ services: AdminServices,
        _ operation: String,
        _ match: String,
        _ change: (OutboundIPEntry?) throws(Problem) -> OutboundIPEntry
    ) throws(Problem) -> AdminResponse {
        var before: OutboundIPEntry?
        let edit = try FileEdits.edit(file, request, services, operation: operation, key: match) {
            (document) throws(Problem) in
            before = OutboundIPs.entries(in: document).first { $0.match == match }
            let entry = try change(before)
            try FileEdits.say("/match") { () throws(ConfigError) in try OutboundIPs.put(entry, in: &document) }
        }
        if let rehearsal = FileEdits.rehearsal(edit) { return rehearsal }
        let entries = OutboundIPs.entries(in: try FileEdits.document(file, services).document)
        guard let now = entries.first(where: { $0.match == match }) else { throw missing }
        if edit.isChanged {
            services.audit(
                request,
                Change(operation: operation, subject: match, before: shown(before), after: shown(now))
            )
        }
        return .json(view(now), status: before == nil ? 201 : 200, headers: [FileEdits.tag(edit.revision)])
    }

    private static func shown(_ entry: OutboundIPEntry?) -> String {
        entry.map { String(decoding: view($0).bytes, as: UTF8.self) } ?? ""
    }

    private static let missing = Problem(.notFound, "there is no binding of that name")
}
