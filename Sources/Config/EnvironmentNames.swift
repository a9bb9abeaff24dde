// EnvironmentNames.swift — which variables there are: one for every key, and short names.

import Mail

/// The names, without `MARTLET_`, and what they stand for.
enum EnvironmentNames {
    /// What a variable stands for.
    enum Meaning: Hashable {
        case key(file: String, section: String?, name: String)
        /// Parts of the `[*]` of `routes.ini`.
        case smartHost(String)
        /// For the program itself.
        case program
    }

    static let prefix = "MARTLET_"

    /// Every variable.
    static let known: [String: Meaning] = {
        var known: [String: Meaning] = [:]
        for type in SettingsReader.keyed { known.merge(type.variables) { first, _ in first } }
        for (name, meaning) in short { known[name] = meaning }
        for name in smartHost { known["SMARTHOST_\(name)"] = .smartHost(name) }
        for name in program { known[name] = .program }
        return known
    }()

    /// Names that say what people want, for keys that say where it is written.
    private static let short: [String: Meaning] = [
        "HOSTNAME": .key(file: "me", section: nil, name: ""),
        "ALLOW_NETWORKS": .key(file: SettingsReader.relayFile, section: nil, name: ""),
        "LISTEN": .key(file: ListenerSettings.file, section: nil, name: "listen"),
        "ALLOWED_SENDER_DOMAINS": .key(file: ListenerSettings.file, section: nil, name: "allowed_sender_domains"),
        "SENDER": .key(file: ListenerSettings.file, section: nil, name: "local_sender"),
        "DNS": .key(file: ResolverSettings.file, section: nil, name: "forward"),
    ]

    static let smartHost = ["HOST", "PORT", "USERNAME", "PASSWORD", "TLS", "IMPLICIT_TLS"]

    /// Read by the program, not by a file: where things are, how to log, how the operator's tool reaches a relay.
    static let program = [
        "CONFIG_DIR", "DATA_DIR", "LOG_FORMAT", "LOG_LEVEL", "LOG_ADDRESSES", "ADMIN_TOKEN", "URL", "TOKEN", "TO_TOKEN",
    ]

    /// What Kubernetes and Docker set for services and links, whatever a service is called: no words of anybody's.
    ///
    /// A service `martlet-smtp` is `MARTLET_SMTP_SERVICE_HOST`, `MARTLET_SMTP_PORT=tcp://10.0.0.1:25`,
    /// `MARTLET_SMTP_PORT_25_TCP_ADDR` and more.
    static func isOfKubernetes(_ name: String, _ value: String) -> Bool {
        let words = name.split(octet: "_", omittingEmpty: false).map(String.init)
        let schemes = ["tcp", "udp", "sctp"]
        for index in words.indices.dropFirst() {
            let rest = words[index...].dropFirst()
            switch words[index] {
            case "SERVICE":
                if rest.count == 1, words[rest.startIndex].isSame(octets: "HOST") { return true }
                if let first = rest.first, first.isSame(octets: "PORT") { return true }
            case "PORT":
                if rest.isEmpty { return schemes.contains { value.starts(withOctets: "\($0)://") } }
                guard let number = rest.first, UInt16(number) != nil, let scheme = rest.dropFirst().first else { break }
                let last = rest.dropFirst(2)
                guard schemes.contains(scheme.lowercasedASCII) else { break }
                if last.isEmpty || last.count == 1 && ["PROTO", "PORT", "ADDR"].contains(last.first) { return true }
            default: break
            }
        }
        return false
    }
}

extension KeyedSettings {
    /// `OUTBOUND_DISABLED`, `SMTP_LIMITS_MESSAGE_BYTES`; also `SMTP_MESSAGE_BYTES` where no other key is called so.
    static var variables: [String: EnvironmentNames.Meaning] {
        var variables: [String: EnvironmentNames.Meaning] = [:]
        let stem = word(file.split(octet: ".").first ?? "")
        for key in keys {
            let meaning = EnvironmentNames.Meaning.key(file: file, section: key.section, name: key.name)
            if let section = key.section {
                variables["\(stem)_\(word(section))_\(word(key.name))"] = meaning
                let isUnique = keys.count { $0.name == key.name } == 1
                if isUnique { variables["\(stem)_\(word(key.name))"] = meaning }
            } else {
                variables["\(stem)_\(word(key.name))"] = meaning
            }
        }
        return variables
    }

    private static func word(_ text: some StringProtocol) -> String {
        // characters: names of our own files, sections and keys
        String(text.uppercased().map { $0.isLetter || $0.isNumber ? $0 : "_" })
    }
}
