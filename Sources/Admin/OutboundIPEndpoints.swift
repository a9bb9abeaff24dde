// OutboundIPEndpoints.swift — source addresses: sections of `outbound_ip.ini` as JSON.

import Config
import JSON
import Mail

/// Operations on `outbound_ip.ini`: `/v1/outbound-ips`.
enum OutboundIPEndpoints: ConfigTable {
    static let file = ConfigFile.outboundIPs
    static let words = TableWords(
        noun: "outbound ip",
        missing: .missing("binding", in: "/v1/outbound-ips"),
        taken: "there is a binding of that name already",
        areNamesJudged: false
    )

    static func rows(_ document: INIDocument?, _ settings: Settings, _ services: AdminServices) -> [OutboundIPEntry] {
        document.map { OutboundIPs.entries(in: $0) } ?? settings.outboundIPs.entries
    }

    static func isNamed(_ row: OutboundIPEntry, _ key: String) -> Bool { row.match.isSame(octets: key) }

    static func write(
        _ draft: inout Wanted,
        _ key: String,
        over old: OutboundIPEntry?,
        isPatch: Bool,
        to document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem) {
        let entry = OutboundIPEntry(
            match: key,
            addresses: draft.addresses ?? old?.addresses ?? [],
            helo: isPatch && !draft.namesHelo ? old?.helo : draft.helo
        )
        try FileEdits.say("/match") { () throws(ConfigError) in try OutboundIPs.put(entry, in: &document) }
    }

    static func erase(_ key: String, from document: inout INIDocument, _ services: AdminServices) -> Bool {
        OutboundIPs.remove(key, in: &document)
    }

    static func logged(_ row: OutboundIPEntry) -> String { String(decoding: view(row).bytes, as: UTF8.self) }

    static func view(_ row: OutboundIPEntry, _ services: AdminServices) -> JSON { view(row) }

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

    static func key(_ request: AdminRequest) throws(Problem) -> String {
        guard let match = name(request.parameter("match")) else {
            throw .badName(
                "match",
                "the name of a binding is \"sender X\", \"recipient X\", \"user X\", \"client NETWORK\" or *"
            )
        }
        return match
    }

    /// What a body says.
    struct Wanted {
        var addresses: [IPAddress]?
        var helo: Domain?
        var namesHelo = false
    }

    static func draft(
        _ request: AdminRequest,
        _ match: String,
        isPatch: Bool,
        _ services: AdminServices
    ) throws(Problem) -> Wanted {
        var body = try JSONObject(request.json(), at: "")
        try body.passOverName("match") { name($0) == match }
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
        guard isPatch || draft.addresses != nil else { throw withoutAddress }
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
        guard !addresses.isEmpty else { throw withoutAddress }
        return addresses
    }

    private static let withoutAddress = Problem.invalid(
        "/ip",
        "required",
        "is missing: an address, or one of each family"
    )
}
