// ForeignVariables.swift — variables of the popular Postfix images: what is understood, what is named and ignored, and
// what must not be ignored because it asked for protection.
//
// boky/postfix, wader/postfix-relay, docker-mailserver, and those of `ForeignImages`. Names of Postfix's settings are taken in
// any case.

import Mail

/// Variables of other images.
enum ForeignVariables {
    /// What becomes of one.
    enum Meaning: Hashable {
        /// The native name, and a value in our words.
        case native(String, String)
        /// One line of the log says that it counts for nothing here.
        case ignored(String)
        /// The start is refused: it asked for protection that nobody would give.
        case refused(String)
    }

    /// Native names; values are taken as they are.
    private static let plain: [String: String] = [
        "RELAYHOST": "SMARTHOST_HOST",
        "RELAYHOST_USERNAME": "SMARTHOST_USERNAME",
        "RELAYHOST_PASSWORD": "SMARTHOST_PASSWORD",
        "DEFAULT_RELAY_HOST": "SMARTHOST_HOST",
        "RELAY_HOST": "SMARTHOST_HOST",
        "RELAY_PORT": "SMARTHOST_PORT",
        "RELAY_USER": "SMARTHOST_USERNAME",
        "RELAY_PASSWORD": "SMARTHOST_PASSWORD",
        "SMARTHOST_ADDRESS": "SMARTHOST_HOST",
        "SMARTHOST_HOST": "SMARTHOST_HOST",
        "SMARTHOST_PORT": "SMARTHOST_PORT",
        "SMARTHOST_USER": "SMARTHOST_USERNAME",
        "SMARTHOST_USERNAME": "SMARTHOST_USERNAME",
        "SMARTHOST_PASSWORD": "SMARTHOST_PASSWORD",
        "EXT_RELAY_HOST": "SMARTHOST_HOST",
        "EXT_RELAY_PORT": "SMARTHOST_PORT",
        "ALLOWED_SENDER_DOMAINS": "ALLOWED_SENDER_DOMAINS",
        "POSTFIX_mynetworks": "ALLOW_NETWORKS",
        "POSTFIX_myhostname": "HOSTNAME",
        "POSTFIX_relayhost": "SMARTHOST_HOST",
        "POSTFIX_smtp_tls_cafile": "OUTBOUND_TLS_CA_FILE",
        "RELAYHOST_TLS_LEVEL": tlsLevel,
        "POSTFIX_smtp_tls_security_level": tlsLevel,
    ]

    static let tlsLevel = "SMARTHOST_TLS"
    private static let postfix = "POSTFIX_"
    /// Families of names that nothing else uses.
    private static let families = [
        postfix, "POSTFIXMASTER_", "RELAYHOST_", "RELAY_", "OPENDKIM_", "DKIM_", "XOAUTH2_", "SMARTHOST_", "EXT_RELAY_",
    ]
    private static let others: Set<String> = [
        "ALLOW_EMPTY_SENDER_DOMAINS", "MASQUERADED_DOMAINS", "SMTP_HEADER_CHECKS", "INBOUND_DEBUGGING",
        "ANONYMIZE_EMAILS", "OVERRIDE_HOSTNAME", "PERMIT_DOCKER", "DEFAULT_RELAY_HOST", "TLS_LEVEL",
    ]

    /// The name as the tables have it: `POSTFIX_SMTP_TLS_LOGLEVEL` is `POSTFIX_smtp_tls_loglevel`.
    static func normal(_ name: String) -> String {
        name.rest(behind: postfix).map { postfix + $0.lowercasedASCII } ?? name
    }

    /// The native name of a variable whose value may also be kept in a file; nil when it has none.
    ///
    /// - Parameter others: every variable that says something.
    static func native(_ name: String, beside others: [String: String]) -> String? {
        plain[normal(name)] ?? ForeignImages.native(name, beside: others)
    }

    /// What a variable stands for; empty when it is of no image that we know.
    ///
    /// - Parameter others: every variable that says something, this one among them.
    static func meanings(_ name: String, _ value: String, beside others: [String: String]) -> [Meaning] {
        let ofImage = ForeignImages.meanings(name, value, beside: others)
        return ofImage.isEmpty ? [meaning(name, value)].compactMap(\.self) : ofImage
    }

    private static func meaning(_ name: String, _ value: String) -> Meaning? {
        let key = normal(name)
        let word = value.trimmed.lowercasedASCII
        if let native = plain[key] {
            guard native == tlsLevel else { return .native(native, value) }
            return level(name, word)
        }
        switch key {
        case "LOG_FORMAT":
            // Others say plain where we say text.
            return .native("LOG_FORMAT", word.isSame(octets: "plain") ? "text" : value)
        case "POSTFIX_message_size_limit", "MESSAGE_SIZE_LIMIT", "MSG_SIZE":
            guard !word.isSame(octets: "0") else {
                return .ignored("\(name)=0 means no limit, which there is none of here; it is ignored")
            }
            return .native("SMTP_LIMITS_MESSAGE_BYTES", value)
        case "POSTFIX_smtp_use_tls":
            return isYes(word) ? .native(tlsLevel, "may") : ignored(name)
        case "POSTFIX_smtp_enforce_tls":
            return isYes(word) ? .native(tlsLevel, "require") : ignored(name)
        case "POSTFIX_smtp_tls_wrappermode":
            return isYes(word) ? .native("SMARTHOST_IMPLICIT_TLS", "true") : ignored(name)
        default: break
        }
        guard others.contains(key) || families.contains(where: { key.starts(withOctets: $0) }) else { return nil }
        return protection(key, word).map { .refused("\(name) asks for \($0)") } ?? ignored(name)
    }

    static func ignored(_ name: String) -> Meaning {
        .ignored("\(name) is a setting of another image that has no counterpart here; it is ignored")
    }

    static func isYes(_ word: String) -> Bool {
        ["yes", "true", "1", "on"].contains { word.isSame(octets: $0) }
    }

    /// Postfix's words for `smtp_tls_security_level`.
    ///
    /// Its `dane` falls back to less where a host has no TLSA records; ours does not: who asks for it gets it.
    /// - Source: postconf(5)
    static func level(_ name: String, _ word: String) -> Meaning {
        switch word {
        case "none", "off": .native(tlsLevel, "off")
        case "may": .native(tlsLevel, "may")
        case "encrypt", "require": .native(tlsLevel, "require")
        case "verify", "secure": .native(tlsLevel, "verify")
        case "dane", "dane-only": .native(tlsLevel, "dane")
        default:
            .refused("\(name) asks for protection in a word that is none of none, may, encrypt, verify, secure, dane")
        }
    }

    /// What a setting asks for that nobody here would hold; nil when it asks for no protection, or has it anyway.
    private static func protection(_ key: String, _ word: String) -> String? {
        let remedy = "which has no counterpart here; read TLS.md, and take it away"
        if key.starts(withOctets: "POSTFIX_lmtp_"), isLevel(key), isProtective(word) {
            return "TLS of LMTP sessions, \(remedy)"
        }
        if key.starts(withOctets: "POSTFIX_smtpd_"), isLevel(key) || key.ends(withOctets: "_enforce_tls"),
            isProtective(word) || isYes(word)
        {
            return "TLS from every client, \(remedy)"
        }
        if key.ends(withOctets: "_req_ccert"), isYes(word) { return "a certificate from every client, \(remedy)" }
        if key.ends(withOctets: "_mandatory_protocols"), !isMet(word) { return "a TLS version of its own, \(remedy)" }
        let parts = ["_mandatory_ciphers", "_policy_maps", "_per_site", "cert_match", "_tls_capath"]
        if key.contains(octets: "_tls_"), parts.contains(where: { key.contains(octets: $0) }) {
            return "TLS of its own kind, \(remedy)"
        }
        if key.ends(withOctets: "sasl_security_options") || key.ends(withOctets: "sasl_tls_security_options"),
            word.contains(octets: "noplaintext")
        {
            return "no passwords in the clear, \(remedy)"
        }
        if key.isSame(octets: "TLS_LEVEL") || key.ends(withOctets: "_TLS_LEVEL"), isProtective(word) {
            return "TLS, \(remedy)"
        }
        return nil
    }

    private static func isLevel(_ key: String) -> Bool { key.ends(withOctets: "_tls_security_level") }

    private static func isProtective(_ word: String) -> Bool {
        !["", "none", "may", "no", "0", "false"].contains { word.isSame(octets: $0) }
    }

    /// Whether TLS 1.2 and later, which is all we speak, is within what Postfix was told.
    private static func isMet(_ word: String) -> Bool {
        let allowed = [
            "!sslv2", "!sslv3", "!tlsv1", "!tlsv1.0", "!tlsv1.1", ">=tlsv1", ">=tlsv1.0", ">=tlsv1.1", ">=tlsv1.2",
        ]
        return GivenText.words(word).allSatisfy { word in allowed.contains { $0.isSame(octets: word) } }
    }
}
