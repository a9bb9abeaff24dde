// ListenerSettings+Keys.swift — the keys of `smtp.ini`.

import Mail

extension ListenerSettings: KeyedSettings {
    package static let file = "smtp.ini"

    package static let keys: [SettingKey<ListenerSettings>] = [
        SettingKey("listen", show: { .text($0.listen.map(\.description).joined(separator: ", ")) }) {
            (text, target) throws(ValueError) in
            target.listen = try addresses(text)
        },
        SettingKey("smtps_listen") { (text, target) throws(ValueError) in
            target.smtpsListen = try addresses(text)
        },
        SettingKey("allowed_sender_domains") { (text, target) throws(ValueError) in
            target.allowedSenderDomains = try domains(text)
        },
        SettingKey("proxy") { (text, target) throws(ValueError) in target.proxy = try addresses(text) },
        .networks("proxy_networks", \.proxyNetworks),
        .networks("xclient_networks", \.xclientNetworks),
        .networks("xforward_networks", \.xforwardNetworks),
        SettingKey("lenient", show: { .text($0.lenient.description) }) { (text, target) throws(ValueError) in
            target.lenient = try ClientChoice.read(text)
        },
        SettingKey("local_sender", show: { $0.localSender.map { .text($0.description) } ?? .none }) {
            (text, target) throws(ValueError) in
            target.localSender = try localSender(text)
        },
        .boolean("drop", \.drop),
        SettingKey("user") { (text, target) throws(ValueError) in target.user = text.isEmpty ? nil : text },
        SettingKey("group") { (text, target) throws(ValueError) in target.group = text.isEmpty ? nil : text },
        .count("threads", \.threads, 0...1024),
        .byteSize("memory_for_mail", \.memoryForMail, 1 << 16...1 << 44),

        .byteSize("message_bytes", in: "limits", \.messageBytes, 64...1 << 40),
        .byteSize("in_memory_bytes", in: "limits", \.inMemoryBytes, 64...1 << 30),
        .byteSize("header_bytes", in: "limits", \.headerBytes, 256...1 << 26),
        .byteSize("command_bytes", in: "limits", \.commandBytes, 512...1 << 20),
        .count("recipients", in: "limits", \.recipients, 1...1_000_000),
        .count("received_headers", in: "limits", \.receivedHeaders, 1...10_000),
        .count("errors", in: "limits", \.errors, 1...1_000_000),
        .count("idle_commands", in: "limits", \.idleCommands, 1...1_000_000_000),
        .count("connections", in: "limits", \.connections, 1...1_000_000),
        .count("connections_per_client", in: "limits", \.connectionsPerClient, 1...1_000_000),

        .duration("command", in: "timeouts", \.commandTimeout),
        .duration("command_deadline", in: "timeouts", \.commandDeadline),
        .duration("data", in: "timeouts", \.dataTimeout),
        .duration("data_deadline", in: "timeouts", \.dataDeadline),
        .duration("tls", in: "timeouts", \.tlsTimeout),
        .duration("session", in: "timeouts", \.sessionDeadline),
        .duration("commit", in: "timeouts", \.commitTimeout),
        .count("banner_delay", in: "timeouts", \.bannerDelay, 0...60_000),
    ]

    package static let quietKeys: [SettingKey<ListenerSettings>] = []

    /// One address in ASCII, which has a domain.
    private static func localSender(_ text: String) throws(ValueError) -> EmailAddress? {
        guard !text.isEmpty else { return nil }
        guard let address = EmailAddress(text), address.isASCII else {
            throw ValueError("\"\(ValueParsing.shown(text))\" is not an address such as noreply@example.org")
        }
        return address
    }

    /// `127.0.0.1:2525, [::1]:2525`; a port is never guessed.
    static func addresses(_ text: String) throws(ValueError) -> [ListenAddress] {
        var found: [ListenAddress] = []
        for piece in ValueParsing.list(text) {
            guard let address = ListenAddress(piece) else {
                throw ValueError(
                    "\"\(ValueParsing.shown(piece))\" is not an address with a port such as 127.0.0.1:25 or [::1]:25"
                )
            }
            guard !found.contains(address) else { throw ValueError("\(address) is listed twice") }
            found.append(address)
        }
        return found
    }
}

extension ListenAddress {
    /// Reads `127.0.0.1:25` or `[::1]:25`; port 0 lets the system choose.
    ///
    /// - Returns: nil for a host name, a missing port or one above 65535.
    package init?(_ text: some StringProtocol) {
        guard let colon = text.lastIndex(ofOctet: ":"),
            let number = ValueParsing.digits(text[text.utf8.index(after: colon)...]),
            let port = UInt16(exactly: number)
        else { return nil }
        let host = text[..<colon]
        if let ip = IPAddress(literal: host) {
            self.init(ip: ip, port: port)
        } else if let ip = IPAddress(host), !ip.isV6 {
            self.init(ip: ip, port: port)
        } else {
            return nil
        }
    }
}

extension SettingKey<ListenerSettings> {
    /// A list of networks.
    fileprivate static func networks(_ name: String, _ field: any Field<[IPNetwork]>) -> SettingKey {
        SettingKey(name, show: { .text($0[keyPath: field].map(\.description).joined(separator: ", ")) }) {
            (text, target) throws(ValueError) in
            var found: [IPNetwork] = []
            for piece in ValueParsing.list(text) {
                guard let network = IPNetwork(piece) else {
                    throw ValueError(
                        "\"\(ValueParsing.shown(piece))\" is not an address or a network such as 192.0.2.0/24"
                    )
                }
                found.append(network)
            }
            target[keyPath: field] = found
        }
    }
}
