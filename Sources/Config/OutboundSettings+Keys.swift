// OutboundSettings+Keys.swift — the keys of `outbound.ini`: Haraka's, and ours.

import Mail

extension OutboundSettings: KeyedSettings {
    package static let file = "outbound.ini"

    package static let keys: [SettingKey<OutboundSettings>] = [
        .boolean("disabled", \.isDisabled),
        SettingKey("disabled_reason", show: { .text($0.disabledReason) }) { (text, target) throws(ValueError) in
            guard text.utf8.count <= 200 else { throw ValueError("has at most 200 bytes") }
            target.disabledReason = text
        },
        .boolean("enable_tls", \.isTLSEnabled),
        SettingKey("tls_ca_file", show: { $0.tlsCAFile.map { .text($0) } ?? .none }) {
            (text, target) throws(ValueError) in
            guard !text.utf8.contains(0) else { throw ValueError("a path cannot hold a NUL") }
            target.tlsCAFile = text.isEmpty ? nil : text
        },
        .boolean("client_certificate", \.showsCertificate),
        SettingKey("tls_fallback_after", isSeconds: true, show: { .number($0.tlsFallbackAfter) }) {
            (text, target) throws(ValueError) in
            target.tlsFallbackAfter = try ValueParsing.duration(text, 0...31_536_000)
        },
        SettingKey("tls_report_contact", show: { $0.tlsReportContact.map { .text("\($0)") } ?? .none }) {
            (text, target) throws(ValueError) in
            guard !text.isEmpty else { return target.tlsReportContact = nil }
            guard let address = EmailAddress(text) else {
                throw ValueError("\"\(ValueParsing.shown(text))\" is no address; write who answers for the reports")
            }
            target.tlsReportContact = address
        },
        SettingKey("tls_report_organization", show: { .text($0.tlsReportOrganization) }) {
            (text, target) throws(ValueError) in
            guard text.utf8.count <= 200, text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
                throw ValueError("has at most 200 bytes and no control characters")
            }
            target.tlsReportOrganization = text
        },
        .count("concurrency_max", \.concurrencyMax, 1...100_000),
        .count("concurrency_per_lane", \.concurrencyPerLane, 1...100_000),
        .boolean("always_split", \.alwaysSplit),
        SettingKey(
            "maxTempFailures",
            aliases: ["max_temp_failures"],
            show: { $0.failureLimit.map { .number($0) } ?? .none }
        ) {
            (text, target) throws(ValueError) in
            target.maxTempFailures = try ValueParsing.count(text, 0...10_000)
        },
        SettingKey(
            "temp_fail_intervals",
            show: { $0.tempFailIntervals.map { .text(RetryIntervals.text($0)) } ?? .none }
        ) { (text, target) throws(ValueError) in
            target.tempFailIntervals = try RetryIntervals.parse(text)
        },
        .boolean("unreachable_counts", \.isUnreachableCounted),
        SettingKey("unreachable_max_age", isSeconds: true, show: { .number($0.unreachableAge) }) {
            (text, target) throws(ValueError) in
            target.unreachableMaxAge = try ValueParsing.duration(text, 1...31_536_000)
        },
        SettingKey("queue_lifetime", isSeconds: true, show: { $0.queueLifetime.map { .number($0) } ?? .none }) {
            (text, target) throws(ValueError) in
            target.queueLifetime = text.isEmpty ? nil : try ValueParsing.duration(text, 1...31_536_000)
        },
        .boolean("local_mx_ok", \.localMXOK),
        .boolean("ipv6_enabled", \.isIPv6Enabled),
        SettingKey("inet_prefer", show: { .text($0.inetPrefer.rawValue) }) { (text, target) throws(ValueError) in
            switch text.lowercasedASCII {
            case "any", "default", "": target.inetPrefer = .any
            case "v4": target.inetPrefer = .v4
            case "v6": target.inetPrefer = .v6
            default: throw ValueError("\"\(ValueParsing.shown(text))\" is none of any, v4, v6")
            }
        },
        SettingKey("received_header", show: { .text($0.receivedHeader ?? "disabled") }) {
            (text, target) throws(ValueError) in
            target.receivedHeader = try receivedComment(text)
        },
        .count("recipients_per_transaction", \.recipientsPerTransaction, 1...100_000),
        .boolean("bare_lf_replies", \.takesBareLF),
        .count("messages_per_session", \.messagesPerSession, 1...1_000_000_000),
        .duration("pool_timeout", \.idleTimeout),
        .duration("lane_rest_max", \.laneRestMax),
        .byteSize("bounce_message_bytes", \.bounceMessageBytes, 0...1 << 30),
        SettingKey("bounce_grace", isSeconds: true, show: { .number($0.bounceGrace) }) {
            (text, target) throws(ValueError) in
            target.bounceGrace = try ValueParsing.duration(text, 0...31_536_000)
        },
        SettingKey("postmaster", show: { $0.postmaster.map { .text("\($0)") } ?? .none }) {
            (text, target) throws(ValueError) in
            guard !text.isEmpty else { return target.postmaster = nil }
            guard let address = EmailAddress(text) else { throw ValueError("must be an address, or empty") }
            target.postmaster = address
        },
        SettingKey("long_lines", show: { .text($0.longLines.rawValue) }) { (text, target) throws(ValueError) in
            guard let word = OutboundSettings.LongLines(rawValue: text.lowercasedASCII) else {
                throw ValueError("\"\(ValueParsing.shown(text))\" is none of keep, encode")
            }
            target.longLines = word
        },
        .duration("delay_warning", \.delayWarning),
        SettingKey("oauth_idle_days", show: { $0.oauthIdleDays.map { .number($0) } ?? .none }) {
            (text, target) throws(ValueError) in
            target.oauthIdleDays = text.isEmpty ? nil : try ValueParsing.count(text, 0...36_500)
        },

        .duration("opening_timeout", \.openingTimeout),
        .duration("connect_timeout", \.connectTimeout),
        .duration("greeting_timeout", \.greetingTimeout),
        .duration("helo_timeout", \.heloTimeout),
        .duration("tls_timeout", \.tlsTimeout),
        .duration("mail_timeout", \.mailTimeout),
        .duration("rcpt_timeout", \.rcptTimeout),
        .duration("data_init_timeout", \.dataInitTimeout),
        .duration("data_block_timeout", \.dataBlockTimeout),
        .duration("data_done_timeout", \.dataDoneTimeout),
        .duration("quit_timeout", \.quitTimeout),
        .duration("transaction_deadline", \.transactionDeadline),
    ]

    package static let quietKeys: [SettingKey<OutboundSettings>] = [
        // Haraka's pool: sessions kept per destination, 0 for a session per message.
        SettingKey(
            "pool_concurrency_max",
            remark:
                "Haraka's name for sessions kept per next hop: read as concurrency_per_lane, and 0 as a session a message"
        ) { (text, target) throws(ValueError) in
            let count = try ValueParsing.count(text, 0...100_000)
            if count == 0 { target.messagesPerSession = 1 } else { target.concurrencyPerLane = count }
        },
        SettingKey(
            "pool_waiting_queue_max",
            remark: "has no effect: mail waits in the queue on disk, not in a line for a session"
        ) { (text, _) throws(ValueError) in _ = try ValueParsing.count(text, 0...1_000_000_000) },
    ]

    /// A header comment may hold anything printable but parentheses and backslashes, which would end or bend it.
    private static func receivedComment(_ text: String) throws(ValueError) -> String? {
        if text.lowercasedASCII == "disabled" { return nil }
        let isPlain = text.utf8.allSatisfy {
            (0x20...0x7E).contains($0) && $0 != UInt8(ascii: "(") && $0 != UInt8(ascii: ")") && $0 != UInt8(ascii: "\\")
        }
        guard isPlain, (1...200).contains(text.utf8.count) else {
            throw ValueError("must be disabled or 1 to 200 ASCII characters without parentheses and backslashes")
        }
        return text
    }
}
