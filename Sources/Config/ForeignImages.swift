// ForeignImages.swift — images whose variables have names that other programs use as well: `SMTP_PASSWORD`, `MAILNAME`. They
// count beside the variable that names the image's smart host, and are nobody's words without it.
//
// juanluisbaptiste/postfix, crazymax/msmtpd, alterrebe/postfix-relay, namshi/smtp and ixdotai/smtp, eeacms/postfix,
// devture/exim-relay, panubo/postfix, loganmarchione/postfixrelay, knaou/postfix. A file that holds a value (`…_FILE`) works
// for the names that stand for one of ours.

import Mail

/// Variables of images, by the variable that says whose they are.
enum ForeignImages {
    private typealias Meaning = ForeignVariables.Meaning

    private struct Image {
        /// One of these is there.
        let heads: [String]
        /// Native names.
        let names: [String: String]
    }

    private static let images = [
        Image(
            heads: ["SMTP_SERVER", "SMTP_HOST", "EXT_RELAY_HOST", "SMARTHOST", "SMTP_RELAYHOST"],
            names: [
                "SMTP_SERVER": "SMARTHOST_HOST", "SMTP_HOST": "SMARTHOST_HOST", "SMTP_RELAYHOST": "SMARTHOST_HOST",
                "SMTP_PORT": "SMARTHOST_PORT", "SMTP_USERNAME": "SMARTHOST_USERNAME", "SMTP_USER": "SMARTHOST_USERNAME",
                "SMTP_LOGIN": "SMARTHOST_USERNAME", "SMTP_PASSWORD": "SMARTHOST_PASSWORD",
                "SERVER_HOSTNAME": "HOSTNAME",
                "RELAY_HOST_NAME": "HOSTNAME", "SMTP_NETWORKS": "ALLOW_NETWORKS", "ACCEPTED_NETWORKS": "ALLOW_NETWORKS",
                "ALLOWED_NETWORKS": "ALLOW_NETWORKS",
            ]
        ),
        Image(
            heads: ["MTP_RELAY"],
            names: [
                "MTP_RELAY": "SMARTHOST_HOST", "MTP_PORT": "SMARTHOST_PORT", "MTP_USER": "SMARTHOST_USERNAME",
                "MTP_PASS": "SMARTHOST_PASSWORD", "MTP_HOST": "HOSTNAME",
            ]
        ),
        Image(
            heads: ["RELAY_TO"],
            names: [
                "RELAY_TO": "SMARTHOST_HOST", "RELAY_USERNAME": "SMARTHOST_USERNAME", "MYHOSTNAME": "HOSTNAME",
            ]
        ),
        Image(
            heads: ["RELAYHOST", "RELAY_HOST", "DEFAULT_RELAY_HOST"],
            names: [
                "RELAY_USERNAME": "SMARTHOST_USERNAME", "RELAY_PASS": "SMARTHOST_PASSWORD",
                "RELAYUSER": "SMARTHOST_USERNAME", "RELAYPASSWORD": "SMARTHOST_PASSWORD",
                "MYNETWORKS": "ALLOW_NETWORKS",
                "ALLOWED_NETWORKS": "ALLOW_NETWORKS", "MYHOSTNAME": "HOSTNAME", "MAILNAME": "HOSTNAME",
            ]
        ),
        Image(
            heads: ["SMARTHOST_ADDRESS", "GMAIL_USER", "SES_USER"],
            names: [
                "MAILNAME": "HOSTNAME", "GMAIL_PASSWORD": "SMARTHOST_PASSWORD", "SES_PASSWORD": "SMARTHOST_PASSWORD",
            ]
        ),
    ]

    /// The native name; nil when it has none, or the image is not the one.
    static func native(_ name: String, beside others: [String: String]) -> String? {
        images.first { image in
            image.names[name] != nil && image.heads.contains { others[$0] != nil || others["\($0)_FILE"] != nil }
        }?.names[name]
    }

    /// What a variable stands for; empty when it is of none of these images.
    static func meanings(
        _ name: String,
        _ value: String,
        beside others: [String: String]
    ) -> [ForeignVariables.Meaning] {
        if let native = native(name, beside: others) {
            // The image's own default for a smart host, with or without a login.
            let usesSubmission = name.isSame(octets: "SMTP_SERVER") && others["SMTP_PORT"] == nil
            return [.native(native, value)] + (usesSubmission ? [.native("SMARTHOST_PORT", "587")] : [])
        }
        switch name {
        // host::587, as Exim separates them.
        case "SMARTHOST": return [.native("SMARTHOST_HOST", value.replacing("::", with: ":", maxReplacements: 1))]
        case "GMAIL_USER": return provider("smtp.gmail.com:587", value)
        case "SES_USER":
            let region = others["SES_REGION"] ?? "us-east-1"
            return provider(
                "email-smtp.\(region.trimmed).amazonaws.com:\((others["SES_PORT"] ?? "587").trimmed)",
                value
            )
        case "RELAY_NETWORKS" where others["MAILNAME"] != nil || others["SMARTHOST_ADDRESS"] != nil:
            // :10.0.0.0/8:192.168.0.0/16
            let isList = value.contains(octet: ".")
            let networks = isList ? value.split(octet: ":").joined(separator: " ") : value
            return [.native("ALLOW_NETWORKS", networks)]
        default: return protection(name, value, others)
        }
    }

    private static func provider(_ host: String, _ user: String) -> [ForeignVariables.Meaning] {
        [
            .native("SMARTHOST_HOST", host), .native("SMARTHOST_USERNAME", user),
            .native(ForeignVariables.tlsLevel, "require"),
        ]
    }

    /// Words about TLS, which count beside a smart host.
    private static func protection(
        _ name: String,
        _ value: String,
        _ others: [String: String]
    ) -> [ForeignVariables.Meaning] {
        guard ["SMTP_SERVER", "SMTP_HOST", "EXT_RELAY_HOST"].contains(where: { others[$0] != nil }) else { return [] }
        let word = value.trimmed.lowercasedASCII
        func says(_ other: String, _ isYes: Bool) -> Bool {
            others[other].map { ForeignVariables.isYes($0.trimmed.lowercasedASCII) == isYes } ?? false
        }
        switch name {
        case "SMTP_TLS":
            guard ForeignVariables.isYes(word) else { return [ForeignVariables.ignored(name)] }
            // msmtp looks at certificates unless it is told not to.
            let isVerified = others["SMTP_HOST"] != nil && !says("SMTP_TLS_CHECKCERT", false)
            return [.native(ForeignVariables.tlsLevel, isVerified ? "verify" : "require")]
        case "SMTP_STARTTLS":
            guard says("SMTP_TLS", true) else { return [] }
            return ForeignVariables.isYes(word) ? [] : [.native("SMARTHOST_IMPLICIT_TLS", "true")]
        case "SMTP_USE_TLS": return ForeignVariables.isYes(word) ? [.native(ForeignVariables.tlsLevel, "may")] : []
        case "USE_TLS" where others["EXT_RELAY_HOST"] != nil:
            return ForeignVariables.isYes(word) ? [.native(ForeignVariables.tlsLevel, "may")] : []
        case "TLS_VERIFY" where others["EXT_RELAY_HOST"] != nil: return [ForeignVariables.level(name, word)]
        case "OVERWRITE_FROM":
            return [.ignored("\(name) is ignored: MARTLET_SENDER is what senders of this machine send as")]
        case "SMTP_HEADER_TAG", "SMTP_FROM", "SMTP_DOMAIN", "DESTINATION", "SMTP_AUTH":
            return [ForeignVariables.ignored(name)]
        default: return []
        }
    }
}
