// EnvironmentNames.swift — which variables there are: one for every key, short names, and those of well-known images.

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
        for name in ["HOST", "PORT", "USERNAME", "PASSWORD", "TLS"] { known["SMARTHOST_\(name)"] = .smartHost(name) }
        for name in program { known[name] = .program }
        return known
    }()

    /// Names that say what people want, for keys that say where it is written.
    private static let short: [String: Meaning] = [
        "HOSTNAME": .key(file: "me", section: nil, name: ""),
        "ALLOW_NETWORKS": .key(file: SettingsReader.relayFile, section: nil, name: ""),
        "LISTEN": .key(file: ListenerSettings.file, section: nil, name: "listen"),
        "ALLOWED_SENDER_DOMAINS": .key(file: ListenerSettings.file, section: nil, name: "allowed_sender_domains"),
        "DNS": .key(file: ResolverSettings.file, section: nil, name: "forward"),
    ]

    /// Read by the program, not by a file: where things are, how to log, how the operator's tool reaches a relay.
    private static let program = [
        "CONFIG_DIR", "DATA_DIR", "LOG_FORMAT", "LOG_LEVEL", "LOG_ADDRESSES", "ADMIN_TOKEN", "URL", "TOKEN",
    ]

    /// What the popular Postfix images call it (boky/postfix, wader/postfix-relay, docker-mailserver and others).
    static let aliases: [String: String] = [
        "RELAYHOST": "SMARTHOST_HOST",
        "RELAYHOST_USERNAME": "SMARTHOST_USERNAME",
        "RELAYHOST_PASSWORD": "SMARTHOST_PASSWORD",
        "RELAY_HOST": "SMARTHOST_HOST",
        "RELAY_PORT": "SMARTHOST_PORT",
        "RELAY_USER": "SMARTHOST_USERNAME",
        "RELAY_PASSWORD": "SMARTHOST_PASSWORD",
        "ALLOWED_SENDER_DOMAINS": "ALLOWED_SENDER_DOMAINS",
        "POSTFIX_mynetworks": "ALLOW_NETWORKS",
        "POSTFIX_myhostname": "HOSTNAME",
        "POSTFIX_relayhost": "SMARTHOST_HOST",
        "POSTFIX_message_size_limit": "SMTP_LIMITS_MESSAGE_BYTES",
        "LOG_FORMAT": "LOG_FORMAT",
    ]

    /// What Kubernetes sets for a service that is called `martlet`: no words of ours.
    static func isOfKubernetes(_ rest: Substring) -> Bool {
        rest == "PORT" || rest.hasPrefix("PORT_") || rest == "SERVICE_HOST" || rest == "SERVICE_PORT"
            || rest.hasPrefix("SERVICE_PORT_")
    }

    static func isSecret(_ name: String) -> Bool { name.contains("PASS") || name.contains("TOKEN") }
}

extension KeyedSettings {
    /// `OUTBOUND_DISABLED`, `SMTP_LIMITS_MESSAGE_BYTES`; also `SMTP_MESSAGE_BYTES` where no other key is called so.
    static var variables: [String: EnvironmentNames.Meaning] {
        var variables: [String: EnvironmentNames.Meaning] = [:]
        let stem = word(file.split(separator: ".").first ?? "")
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
        String(text.uppercased().map { $0.isLetter || $0.isNumber ? $0 : "_" })
    }
}
