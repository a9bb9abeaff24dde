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
        // One takes the place of the other.
        let keepsPool = isPatch && draft.pool == nil && draft.addresses == nil
        let entry = OutboundIPEntry(
            match: key,
            addresses: draft.addresses ?? (isPatch && draft.pool == nil ? old?.addresses : nil) ?? [],
            helo: isPatch && !draft.namesHelo ? old?.helo : draft.helo,
            pool: draft.pool ?? (keepsPool ? old?.pool : nil),
            members: draft.members ?? (isPatch ? old?.members : nil) ?? []
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
            "pool": .optional(entry.pool),
            "address": .strings(entry.members),
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
                "the name of a binding is \"sender X\", \"recipient X\", \"user X\", \"client NETWORK\", \"route X\" or *; a pool "
                    + "of addresses is \"pool NAME\""
            )
        }
        return match
    }

    /// What a body says.
    struct Wanted {
        var addresses: [IPAddress]?
        var helo: Domain?
        var namesHelo = false
        var pool: String?
        /// Of a pool.
        var members: [String]?
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
        let isPool = match.starts(withOctets: "pool ")
        if body.names.contains(where: { $0.isSame(octets: "ip") }) {
            // What comes out goes in: an empty list says nothing.
            let mayBeEmpty = isPool || body.names.contains { $0.isSame(octets: "pool") }
            draft.addresses = try addresses(&body, services.settings.isLocal, mayBeEmpty: mayBeEmpty)
            if mayBeEmpty, draft.addresses?.isEmpty ?? false { draft.addresses = nil }
        }
        draft.pool = try body.string("pool")
        draft.members = try members(&body, isPool: isPool)
        guard !isPool || draft.addresses == nil && draft.pool == nil else {
            throw Problem.invalid(
                draft.pool == nil ? "/ip" : "/pool",
                "unknown",
                "says nothing of a pool: it has address"
            )
        }
        guard draft.addresses == nil || draft.pool == nil else {
            throw Problem.invalid("/pool", "exclusive", "cannot stand beside ip")
        }
        draft.namesHelo = body.names.contains { $0.isSame(octets: "helo") }
        if let text = try body.string("helo") {
            guard let domain = Domain(text) else { throw Problem.invalid("/helo", "format", "is no host name") }
            draft.helo = domain
        }
        try body.finish()
        if isPool {
            guard draft.helo == nil else {
                throw Problem.invalid("/helo", "unknown", "stands behind each address of a pool")
            }
            guard isPatch || draft.members != nil else { throw withoutMembers }
        } else {
            guard isPatch || draft.addresses != nil || draft.pool != nil else { throw withoutAddress }
        }
        return draft
    }

    /// The addresses of a pool, each as the file has it.
    private static func members(_ body: inout JSONObject, isPool: Bool) throws(Problem) -> [String]? {
        guard body.names.contains(where: { $0.isSame(octets: "address") }) else { return nil }
        let members = try body.strings("address", atMost: SourcePool.mostMembers) ?? []
        guard isPool else {
            guard members.isEmpty else { throw Problem.invalid("/address", "unknown", "belongs to a pool") }
            return nil
        }
        guard !members.isEmpty else { throw withoutMembers }
        return members
    }

    private static func addresses(
        _ body: inout JSONObject,
        _ isLocal: LocalAddressCheck,
        mayBeEmpty: Bool
    ) throws(Problem) -> [IPAddress] {
        var addresses: [IPAddress] = []
        guard let texts = try body.strings("ip", atMost: 2) else { throw withoutAddress }
        for (index, text) in texts.enumerated() {
            guard let address = IPAddress(text) ?? IPAddress(literal: text) else {
                throw Problem.invalid("/ip/\(index)", "format", "is no IP address")
            }
            guard isLocal(address) else {
                throw Problem.invalid("/ip/\(index)", "invalid", "\(address) is not an address of this machine")
            }
            addresses.append(address)
        }
        guard mayBeEmpty || !addresses.isEmpty else { throw withoutAddress }
        return addresses
    }

    private static let withoutAddress = Problem.invalid(
        "/ip",
        "required",
        "is missing: an address, or one of each family; or a pool"
    )

    private static let withoutMembers = Problem.invalid(
        "/address",
        "required",
        "is missing: the addresses of the pool, such as \"192.0.2.10 weight 3 helo out1.example.org\""
    )
}
