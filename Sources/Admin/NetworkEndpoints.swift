// NetworkEndpoints.swift — who may relay by address: lines of `relay_acl_allow` as JSON.

import Config
import JSON
import Mail

/// Operations on `relay_acl_allow`: `/v1/networks`.
enum NetworkEndpoints: ConfigTable {
    static let file = ConfigFile.relayNetworks
    static let words = TableWords(
        noun: "network",
        missing: .missing("network", in: "/v1/networks"),
        taken: "the network is there already"
    )

    /// The lines of the file; what is in force where there is no file, or a broken one, or a variable in its place.
    static func rows(
        _ document: INIDocument?,
        _ settings: Settings,
        _ services: AdminServices
    ) -> [RelayNetworks.Entry] {
        guard let document, !document.text.isEmpty, origin(services) == "file" else {
            return settings.relayNetworks.map { RelayNetworks.Entry($0) }
        }
        return RelayNetworks.entries(in: document.text)
    }

    static func isNamed(_ row: RelayNetworks.Entry, _ key: IPNetwork) -> Bool { RelayNetworks.isSame(row.network, key) }

    static func allowChange(_ key: IPNetwork, _ services: AdminServices) throws(Problem) {
        guard let pin = services.settings.environment.pin("", in: nil, of: file.name) else { return }
        throw Problem(
            .pinned,
            "who may relay is set by the environment variable \(pin.variable), which stands above relay_acl_allow"
        )
    }

    /// What is said of the comment; nil: nothing.
    static func draft(
        _ request: AdminRequest,
        _ network: IPNetwork,
        isPatch: Bool,
        _ services: AdminServices
    ) throws(Problem) -> String?? {
        guard network.prefix > 0 else {
            throw Problem.invalid(
                "/network",
                "forbidden",
                "lets everybody relay; if that is meant, write it into the file"
            )
        }
        var body = try request.object()
        try body.passOverName("network") { IPNetwork($0).map { RelayNetworks.isSame($0, network) } ?? false }
        try body.passOver("origin", "file, default or environment") {
            ["file", "default", "environment"].contains($0.string)
        }
        let isGiven = body.names.contains { $0.isSame(octets: "comment") }
        let comment = try body.string("comment", atMost: 200)
        try body.finish()
        return isGiven ? .some(comment) : nil
    }

    static func write(
        _ draft: inout String??,
        _ key: IPNetwork,
        over old: RelayNetworks.Entry?,
        isPatch: Bool,
        to document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem) {
        let entry = RelayNetworks.Entry(old?.network ?? key, comment: draft ?? (isPatch ? old?.comment : nil))
        var text = document.text
        try FileEdits.say("/comment") { () throws(ConfigError) in
            text = try RelayNetworks.putting(entry, into: text, seed: services.settings.current.relayNetworks)
        }
        document = INIDocument(parsing: text)
    }

    static func erase(_ key: IPNetwork, from document: inout INIDocument, _ services: AdminServices) -> Bool {
        let text = document.text.isEmpty ? Self.text(of: services.settings.current.relayNetworks) : document.text
        guard let left = RelayNetworks.removing(key, from: text) else { return false }
        document = INIDocument(parsing: left)
        return true
    }

    static func logged(_ row: RelayNetworks.Entry) -> String { row.comment ?? "" }

    private static func text(of networks: [IPNetwork]) -> String { networks.map { "\($0)\n" }.joined() }

    private static func origin(_ services: AdminServices) -> String {
        if services.settings.environment.pin("", in: nil, of: file.name) != nil { return "environment" }
        return services.settings.exists(file) ? "file" : "default"
    }

    static func view(_ entry: RelayNetworks.Entry, _ services: AdminServices) -> JSON {
        [
            "network": .string("\(entry.network)"), "comment": .optional(entry.comment),
            "origin": .string(origin(services)),
        ]
    }

    static func key(_ request: AdminRequest) throws(Problem) -> IPNetwork {
        guard let network = IPNetwork(request.parameter("network")) else {
            throw .badName(
                "network",
                "a network is an address, or one such as 192.0.2.0/24 (a slash is %2F in a path)"
            )
        }
        return network
    }
}
