// AdminSettings+Keys.swift — the keys of `admin.ini`, and its `[token NAME]` sections.

import Mail

extension AdminSettings: KeyedSettings {
    package static let file = "admin.ini"

    package static let keys: [SettingKey<AdminSettings>] = [
        SettingKey("listen") { (text, target) throws(ValueError) in
            target.listen = try ListenerSettings.addresses(text)
            target.isListenGiven = true
        },
        SettingKey("socket") { (text, target) throws(ValueError) in
            guard !text.utf8.contains(where: { $0 < 0x20 }) else {
                throw ValueError("a path holds no control characters")
            }
            target.socket = text.isEmpty || text == "none" ? nil : text
        },
        SettingKey("socket_mode") { (text, target) throws(ValueError) in
            guard let mode = ["0600": 0o600, "0660": 0o660, "0666": 0o666][text] else {
                throw ValueError("\"\(ValueParsing.shown(text))\" is none of 0600, 0660, 0666")
            }
            target.socketMode = UInt32(mode)
        },
        .path("certificate", \.certificate),
        .path("key", \.key),
        .count("connections", \.connections, 1...512),
        .count("connections_per_client", \.connectionsPerClient, 1...512),
        SettingKey("timeout") { (text, target) throws(ValueError) in
            target.timeout = try ValueParsing.duration(text, 1...600)
        },
        .byteSize("body_bytes", \.bodyBytes, 1024...1 << 26),
        SettingKey("proxy") { (text, target) throws(ValueError) in
            target.proxy = try ListenerSettings.addresses(text)
        },
        SettingKey("proxy_networks") { (text, target) throws(ValueError) in
            target.proxyNetworks = try networks(text)
        },
        .boolean("require_if_match", \.requiresIfMatch),
        .boolean("require_token", \.requiresToken),
        .boolean("page", \.hasPage),
        SettingKey("metrics_allow") { (text, target) throws(ValueError) in
            target.metricsNetworks = try networks(text)
        },
        SettingKey("allowed_origins") { (text, target) throws(ValueError) in
            target.allowedOrigins = try origins(text)
        },
    ]

    package static let quietKeys: [SettingKey<AdminSettings>] = []

    package static let openKeys = ["scopes", "cidr", "expires", "revoked", "created"]

    /// Reads `admin.ini` whole, tokens included.
    ///
    /// - Throws: all errors of the file, each with its line.
    package static func readWithTokens(
        _ document: INIDocument,
        warnings: inout [ConfigError]
    ) throws(ConfigErrors) -> AdminSettings {
        var others: [ConfigError] = []
        var settings = try read(document, warnings: &others)
        warnings += others.filter { warning in
            !document.entries.contains { $0.line == warning.line && $0.section?.starts(withOctets: "token ") == true }
        }
        var errors: [ConfigError] = []
        var seen: Set<String> = []
        for header in document.headers where header.name.starts(withOctets: "token ") || header.name == "token" {
            do throws(ValueError) {
                let name = header.name.dropping(octets: 6)
                guard isTokenName(name) else {
                    throw ValueError("a token's name has 1 to 64 letters, digits, dots, hyphens or underscores")
                }
                guard seen.insert(String(name)).inserted else { throw ValueError("there is a token of that name") }
                settings.tokens.append(try token(String(name), document, header.name))
            } catch {
                errors.append(
                    ConfigError(
                        file: file,
                        line: header.line,
                        reason: "[\(ValueParsing.shown(header.name))] \(error.reason)"
                    )
                )
            }
        }
        for place in settings.proxy where !settings.listen.contains(place) {
            warnings.append(ConfigError(file: file, reason: "proxy names \(place), which listen does not"))
        }
        if !settings.proxy.isEmpty, settings.proxyNetworks.isEmpty {
            warnings.append(
                ConfigError(file: file, reason: "proxy lets nobody in: proxy_networks names no balancer")
            )
        }
        if (settings.certificate == nil) != (settings.key == nil) {
            errors.append(ConfigError(file: file, reason: "certificate and key are given together or not at all"))
        }
        guard errors.isEmpty else { throw ConfigErrors(errors) }
        return settings
    }

    /// Reads a comma-separated list of scopes.
    ///
    /// `all` is every scope; `messages:send` is another name of `submit`.
    /// - Returns: nil when one is unknown, or there is none.
    package static func scopes(_ text: String) -> Set<Scope>? {
        var found: Set<Scope> = []
        for piece in ValueParsing.list(text) {
            switch piece {
            case "all": found.formUnion(Scope.allCases)
            case "messages:send": found.insert(.submit)
            default:
                guard let scope = Scope(rawValue: String(piece)) else { return nil }
                found.insert(scope)
            }
        }
        return found.isEmpty ? nil : found
    }

    private static let tokenKeys = ["hash", "scopes", "cidr", "expires", "revoked", "created"]

    private static func token(
        _ name: String,
        _ document: INIDocument,
        _ section: String
    ) throws(ValueError) -> Token {
        var token = Token(name: name, digest: nil, scopes: [])
        var isRevoked = false
        for entry in document.entries where entry.section == section {
            switch entry.key {
            case "hash": token.digest = try digest(entry.value)
            case "scopes":
                guard let scopes = scopes(entry.value) else {
                    let names = Scope.allCases.map(\.rawValue).joined(separator: ", ")
                    throw ValueError("scopes: \"\(ValueParsing.shown(entry.value))\" is not a list of all, \(names)")
                }
                token.scopes = scopes
            case "cidr": token.networks = try networks(entry.value)
            case "expires":
                guard entry.value.isEmpty || entry.value == "never" || Timestamp(rfc3339: entry.value) != nil else {
                    throw ValueError(
                        "expires: \"\(ValueParsing.shown(entry.value))\" is not a time such as 2027-01-31T12:00:00Z"
                    )
                }
                token.expires = Timestamp(rfc3339: entry.value)
            case "revoked": isRevoked = true
            case "created": break
            default:
                let hint = NearestName.hint(for: entry.key, among: tokenKeys)
                throw ValueError("unknown key \(ValueParsing.shown(entry.key))\(hint)")
            }
        }
        if isRevoked {
            token.digest = nil
        } else if token.digest == nil {
            throw ValueError("has no hash; martlet token create writes one")
        }
        return token
    }

    static func digest(_ text: String) throws(ValueError) -> [UInt8] {
        guard text.starts(withOctets: "sha256:"), let bytes = [UInt8](hexadecimal: text.dropping(octets: 7)),
            bytes.count == 32
        else {
            throw ValueError("hash is not sha256: and 64 hexadecimal digits; martlet token create writes one")
        }
        return bytes
    }

    /// Origins as browsers send them (RFC 6454 §6.1): scheme, host, a port that is not the usual one, and nothing else.
    private static func origins(_ text: String) throws(ValueError) -> [String] {
        var found: [String] = []
        for piece in ValueParsing.list(text) {
            let origin = String(piece).lowercasedASCII
            let host = ["https://", "http://"].first { origin.starts(withOctets: $0) }
                .map { Substring(origin.utf8.dropFirst($0.utf8.count)) }
            guard let host, !host.isEmpty,
                host.utf8.allSatisfy({ octet in
                    switch octet {
                    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                        UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]"):
                        true
                    default: false
                    }
                })
            else {
                throw ValueError(
                    "\"\(ValueParsing.shown(piece))\" is not an origin such as https://dash.example.org; * is not for an API that sends mail"
                )
            }
            found.append(origin)
        }
        return found
    }

    static func networks(_ text: String) throws(ValueError) -> [IPNetwork] {
        var found: [IPNetwork] = []
        for piece in ValueParsing.list(text) {
            guard let network = IPNetwork(piece) else {
                throw ValueError("\"\(ValueParsing.shown(piece))\" is not an address or a network such as 192.0.2.0/24")
            }
            found.append(network)
        }
        return found
    }
}

extension SettingKey {
    /// The path of a file, below the configuration directory unless absolute; empty is none.
    static func path(_ name: String, _ field: any Field<String?>) -> SettingKey {
        SettingKey(name) { (text, target) throws(ValueError) in
            guard !text.utf8.contains(where: { $0 < 0x20 }) else {
                throw ValueError("a path holds no control characters")
            }
            target[keyPath: field] = text.isEmpty ? nil : text
        }
    }
}
