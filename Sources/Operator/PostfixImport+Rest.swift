// PostfixImport+Rest.swift — parameters that are a key of ours, and those that count for nothing here, each with the reason.

import Config
import Mail

extension PostfixImport {
    private enum Kind {
        case count, seconds, word
    }

    private struct Twin {
        let file: String
        var section: String?
        let key: String
        let kind: Kind
        /// Seconds that a number without a letter counts.
        var unit = 1
        var guess: String?
    }

    private static let twins: [String: Twin] = [
        "smtpd_recipient_limit": Twin(file: "smtp.ini", section: "limits", key: "recipients", kind: .count),
        "smtpd_client_connection_count_limit": Twin(
            file: "smtp.ini",
            section: "limits",
            key: "connections_per_client",
            kind: .count
        ),
        "header_size_limit": Twin(file: "smtp.ini", section: "limits", key: "header_bytes", kind: .count),
        "hopcount_limit": Twin(file: "smtp.ini", section: "limits", key: "received_headers", kind: .count),
        "smtpd_hard_error_limit": Twin(file: "smtp.ini", section: "limits", key: "errors", kind: .count),
        "smtpd_timeout": Twin(
            file: "smtp.ini",
            section: "timeouts",
            key: "command",
            kind: .seconds,
            guess: "for commands; data has a time of its own"
        ),
        "smtp_destination_concurrency_limit": Twin(file: "outbound.ini", key: "concurrency_per_lane", kind: .count),
        "default_destination_concurrency_limit": Twin(file: "outbound.ini", key: "concurrency_per_lane", kind: .count),
        "smtp_destination_recipient_limit": Twin(file: "outbound.ini", key: "recipients_per_transaction", kind: .count),
        "default_destination_recipient_limit": Twin(
            file: "outbound.ini",
            key: "recipients_per_transaction",
            kind: .count
        ),
        "bounce_size_limit": Twin(file: "outbound.ini", key: "bounce_message_bytes", kind: .count),
        "maximal_queue_lifetime": Twin(file: "outbound.ini", key: "queue_lifetime", kind: .seconds, unit: 86_400),
        "delay_warning_time": Twin(
            file: "outbound.ini",
            key: "delay_warning",
            kind: .seconds,
            unit: 3600,
            guess: "for senders who ask for it (NOTIFY=DELAY)"
        ),
        "smtp_connect_timeout": Twin(file: "outbound.ini", key: "connect_timeout", kind: .seconds),
        "smtp_helo_timeout": Twin(file: "outbound.ini", key: "helo_timeout", kind: .seconds),
        "smtp_mail_timeout": Twin(file: "outbound.ini", key: "mail_timeout", kind: .seconds),
        "smtp_rcpt_timeout": Twin(file: "outbound.ini", key: "rcpt_timeout", kind: .seconds),
        "smtp_data_init_timeout": Twin(file: "outbound.ini", key: "data_init_timeout", kind: .seconds),
        "smtp_data_xfer_timeout": Twin(file: "outbound.ini", key: "data_block_timeout", kind: .seconds),
        "smtp_data_done_timeout": Twin(file: "outbound.ini", key: "data_done_timeout", kind: .seconds),
        "smtp_quit_timeout": Twin(file: "outbound.ini", key: "quit_timeout", kind: .seconds),
    ]

    mutating func translateRest() {
        translateWords()
        for line in parameters.strange {
            draft.leaveOut(ImportDraft.Place(name, line.number, "a line"), "it is no name = value")
        }
        for index in parameters.all.indices {
            let parameter = parameters.all[index]
            let from = ImportDraft.Place(name, parameter.line, parameter.name)
            if parameters.isOverruled(index) {
                draft.leaveOut(from, "it stands once more further down, and that counts")
            } else if taken.contains(parameter.name) {
                continue
            } else if let twin = Self.twins[parameter.name] {
                translate(parameters.filled(parameter.raw), twin, from)
            } else if let because = Self.protection(parameter.name, parameters.filled(parameter.raw)) {
                draft.lose(from, because)
            } else {
                draft.leaveOut(from, Self.reason(parameter.name))
            }
        }
    }

    private mutating func translate(_ value: String, _ twin: Twin, _ from: ImportDraft.Place) {
        let isKnown = SettingsReader.knows(twin.key, in: twin.section, of: twin.file)
        let text: String?
        switch twin.kind {
        case .count: text = UInt64(value).flatMap { $0 > 0 ? "\($0)" : nil }
        case .seconds: text = Self.seconds(value, twin.unit).flatMap { $0 > 0 ? "\($0)" : nil }
        case .word: text = value
        }
        guard isKnown, let text, SettingsReader.takes(text, for: twin.key, in: twin.section, of: twin.file) else {
            return draft.leaveOut(from, "0 and what is not a number keep the default of \(twin.key) in \(twin.file)")
        }
        draft.set(twin.key, text, in: twin.section, of: twin.file, from: from, guess: twin.guess)
    }

    /// Seconds of `5d`, `4h`, `300s`, or a plain number of a parameter's own unit.
    private static func seconds(_ text: String, _ usual: Int) -> Int? {
        let units: [UInt8: Int] = [
            UInt8(ascii: "s"): 1, UInt8(ascii: "m"): 60, UInt8(ascii: "h"): 3600, UInt8(ascii: "d"): 86_400,
            UInt8(ascii: "w"): 604_800,
        ]
        guard let last = text.utf8.last else { return nil }
        guard let unit = units[last | 0x20] else { return Int(text).flatMap { $0 < 1_000_000 ? $0 * usual : nil } }
        return Int(Substring(text.utf8.dropLast())).flatMap { $0 < 1_000_000 ? $0 * unit : nil }
    }

    /// Parameters whose value is a word of ours.
    private mutating func translateWords() {
        let outbound = OutboundSettings.file
        if let value = take("smtp_address_preference") {
            let words = ["ipv4": "v4", "ipv6": "v6", "any": "any"]
            draft.set(
                "inet_prefer",
                words[value.lowercasedASCII] ?? "any",
                of: outbound,
                from: place("smtp_address_preference")
            )
        }
        if let value = take("inet_protocols"), value.lowercasedASCII.isSame(octets: "ipv4"),
            draft.value("inet_prefer", of: outbound) == nil
        {
            draft.set(
                "inet_prefer",
                "v4",
                of: outbound,
                from: place("inet_protocols"),
                guess: "IPv6 is tried where there is no IPv4"
            )
        }
        if let value = take("smtp_host_lookup"), value.contains(octets: "native") {
            draft.set("hosts", "true", of: "resolver.ini", from: place("smtp_host_lookup"))
        }
        if let value = take("smtp_sasl_mechanism_filter") {
            let names = value.split(octet: ",").flatMap(\.words).map(\.lowercasedASCII)
            let known = ["plain", "login", "cram-md5", "xoauth2", "oauthbearer"]
            if names.count == 1, known.contains(names), draft.value("auth_user", in: "*", of: "routes.ini") != nil {
                draft.set("auth_type", names[0], in: "*", of: "routes.ini", from: place("smtp_sasl_mechanism_filter"))
            } else {
                draft.leaveOut(
                    place("smtp_sasl_mechanism_filter"),
                    "the best mechanism that both know is used, or auth_type of a route"
                )
            }
        }
        if let value = take("defer_transports"), value.words.contains(where: { $0.isSame(octets: "smtp") }) {
            draft.set("disabled", "true", of: outbound, from: place("defer_transports"))
        }
    }

    // MARK: - Reasons

    private static func protection(_ name: String, _ value: String) -> String? {
        let word = value.lowercasedASCII
        let isLevel = !["", "none", "may", "no"].contains { word.isSame(octets: $0) }
        if name.isSame(octets: "smtpd_tls_security_level") || name.isSame(octets: "smtpd_enforce_tls"), isLevel {
            return "TLS was demanded of every client, and here it is offered"
        }
        if name.isSame(octets: "smtp_sasl_security_options") || name.isSame(octets: "smtp_sasl_tls_security_options"),
            word.contains(octets: "noplaintext")
        {
            return
                "passwords were not to be sent in the clear: write auth_type = cram-md5, or tls = require, into the route"
        }
        if name.isSame(octets: "smtp_tls_per_site") || name.starts(withOctets: "smtp_tls_fingerprint_cert_match") {
            return "TLS was demanded in a way that has no counterpart"
        }
        return nil
    }

    private static let reasons: [(beginning: String, because: String)] = [
        ("smtp_generic_maps", "addresses are not rewritten"), ("canonical_", "addresses are not rewritten"),
        ("sender_canonical_", "addresses are not rewritten"), ("recipient_canonical_", "addresses are not rewritten"),
        ("masquerade_", "addresses are not rewritten"), ("virtual_", "no address is rewritten or delivered here"),
        ("alias_", "copy its addresses into aliases"), ("relocated_", "no address is rewritten"),
        ("always_bcc", "no copies are made"), ("sender_bcc_", "no copies are made"),
        ("recipient_bcc_", "no copies are made"),
        ("header_checks", "headers are not changed or judged"),
        ("mime_header_checks", "headers are not changed or judged"),
        ("nested_header_checks", "headers are not changed or judged"), ("body_checks", "bodies are not judged"),
        ("smtp_header_checks", "headers are not changed or judged"),
        ("content_filter", "a program for queue_outbound can judge mail (hooks.ini)"),
        ("smtpd_milters", "a program for queue_outbound can judge mail (hooks.ini); signing is dkim.ini"),
        ("non_smtpd_milters", "a program for queue_outbound can judge mail (hooks.ini); signing is dkim.ini"),
        ("milter_", "there are no milters"),
        ("mydestination", "nothing is delivered here: mail to these domains goes where routes.ini or the DNS says"),
        ("relay_domains", "who may relay may send anywhere"), ("relay_recipient_maps", "recipients are not looked up"),
        ("local_recipient_maps", "recipients are not looked up"), ("local_", "nothing is delivered here"),
        ("mailbox_", "there are no mailboxes"), ("home_mailbox", "there are no mailboxes"),
        ("recipient_delimiter", "there are no mailboxes"), ("luser_relay", "there are no mailboxes"),
        ("mydomain", "a name is completed by who hands mail in"),
        ("myorigin", "a name is completed by who hands mail in"),
        ("append_", "a name is completed by who hands mail in"),
        ("smtpd_sasl_", "users are in auth_flat_file.ini; martlet passwd writes it"),
        ("smtpd_sender_login_maps", "constrain_sender of auth_flat_file.ini binds senders to logins"),
        ("smtpd_tls_", "tls.ini says what clients are offered"),
        ("smtpd_use_tls", "STARTTLS is offered once there is a certificate"),
        ("smtpd_sender_restrictions", "allowed_sender_domains of smtp.ini is the list of senders"),
        (
            "smtpd_",
            "who may relay is in relay_acl_allow, auth_flat_file.ini and relay_acl_certs; nobody else is served"
        ),
        ("smtp_tls_CApath", "authorities are the system's, or those of tls_ca_file"),
        ("smtp_tls_", "TLS 1.2 and later, sessions kept, no certificate shown to servers"),
        ("lmtp_", "a route with using_lmtp says what it needs"), ("postscreen_", "connections are not screened"),
        ("maillog_file", "the log goes to standard error"), ("syslog_", "the log goes to standard error"),
        ("bounce_queue_lifetime", "reports live as long as other mail"), ("soft_bounce", "a refusal is one"),
        ("minimal_backoff_time", "temp_fail_intervals of outbound.ini says when mail is tried again"),
        ("maximal_backoff_time", "temp_fail_intervals of outbound.ini says when mail is tried again"),
        ("queue_run_delay", "temp_fail_intervals of outbound.ini says when mail is tried again"),
        ("notify_classes", "metrics and the log tell, not mail"),
        ("bounce_template_file", "outbound.bounce_message has the words"),
        ("smtp_sasl_security_options", "no mechanism is anonymous"),
        ("smtp_sasl_tls_security_options", "no mechanism is anonymous"),
        ("smtp_dns_support_level", "DNSSEC counts with a trust anchor in resolver.ini"),
        ("inet_", "smtp.ini says where to listen"), ("proxy_interfaces", "smtp.ini says where to listen"),
    ]

    private static func reason(_ name: String) -> String {
        reasons.first { name.starts(withOctets: $0.beginning) }?.because
            ?? "it arranges Postfix itself, or is not known here"
    }
}
