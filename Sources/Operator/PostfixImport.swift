// PostfixImport.swift — `main.cf` and the tables it names into a configuration of ours.
//
// Every parameter gets a remark. What arranges Postfix itself is left out in silence of nobody: it is listed too. What
// protected mail and has no counterpart keeps the relay from delivering until somebody has decided.
// Source: postconf(5), transport(5), TLS_README, SASL_README

import Config
package import Mail

/// The translation of a Postfix directory, or of what `postconf -n` printed.
package struct PostfixImport {
    let parameters: PostfixParameters
    let files: PostfixFiles
    /// `main.cf`, or what it is called.
    let name: String
    var draft = ImportDraft()
    /// Parameters that another one took with it.
    var taken: Set<String> = []

    /// Translates.
    ///
    /// - Parameters:
    ///   - text: of `main.cf`.
    ///   - name: what it is called in remarks.
    ///   - source: the files beside it.
    ///   - isLocal: whether mail can leave from an address.
    package static func draft(
        _ text: String,
        named name: String = "main.cf",
        beside source: ImportSource,
        isLocal: (IPAddress) -> Bool
    ) -> ImportDraft {
        var work = PostfixImport(parameters: PostfixParameters(text), files: PostfixFiles(source: source), name: name)
        work.translateReception()
        work.translateRoutes()
        work.translateSource(isLocal)
        work.translateRest()
        return work.draft
    }

    private init(parameters: PostfixParameters, files: PostfixFiles, name: String) {
        (self.parameters, self.files, self.name) = (parameters, files, name)
    }

    /// Where a parameter stands.
    func place(_ parameter: String) -> ImportDraft.Place {
        ImportDraft.Place(name, parameters.all.last { $0.name.isSame(octets: parameter) }?.line, parameter)
    }

    /// The value of a parameter, which is thereby looked after.
    mutating func take(_ parameter: String) -> String? {
        guard let value = parameters[parameter] else { return nil }
        taken.insert(parameter)
        return value
    }

    static func isYes(_ text: String) -> Bool {
        ["yes", "true", "1"].contains { text.lowercasedASCII.isSame(octets: $0) }
    }

    // MARK: - Reception

    private mutating func translateReception() {
        if let host = take("myhostname") { draft.add("", host, of: "me", from: place("myhostname")) }
        translateListeners()
        translateNetworks()
        if let size = take("message_size_limit") {
            let isNone = size.isSame(octets: "0")
            draft.set(
                "message_bytes",
                isNone ? "1024G" : size,
                in: "limits",
                of: "smtp.ini",
                from: place("message_size_limit"),
                guess: isNone ? "there is no \"no limit\" here" : nil
            )
        }
        translateCertificate()
    }

    /// `inet_interfaces`, `inet_protocols` and the services of `master.cf`.
    private mutating func translateListeners() {
        let interfaces = take("inet_interfaces") ?? "all"
        let hasV6 = !(parameters["inet_protocols"] ?? "all").lowercasedASCII.isSame(octets: "ipv4")
        var hosts: [String] = []
        for word in interfaces.split(octet: ",").flatMap(\.words) {
            switch word.lowercasedASCII {
            case "all": hosts += ["0.0.0.0"] + (hasV6 ? ["[::]"] : [])
            case "loopback-only", "localhost", "$myhostname": hosts += ["127.0.0.1"] + (hasV6 ? ["[::1]"] : [])
            default:
                if let address = IPAddress(word) ?? IPAddress(literal: word) {
                    hosts.append(address.bracketed)
                } else {
                    draft.leaveOut(
                        place("inet_interfaces"),
                        "names are not listened on: write the address into listen of smtp.ini"
                    )
                }
            }
        }
        let from =
            parameters["inet_interfaces"] == nil
            ? ImportDraft.Place(name, nil, "inet_interfaces") : place("inet_interfaces")
        var plain: [String] = []
        for (port, line) in servicePorts() {
            let mail = ImportDraft.Place("master.cf", line, "\(port)")
            guard port != 465 else {
                draft.leaveOut(mail, "write smtps_listen into smtp.ini once there is a certificate")
                continue
            }
            plain += hosts.map { "\($0):\(port)" }
        }
        guard !plain.isEmpty else { return }
        draft.set(
            "listen",
            plain.joined(separator: ", "),
            of: "smtp.ini",
            from: from,
            guess: files.source.contents("master.cf") == nil ? "there is no master.cf, so it is port 25" : nil
        )
    }

    /// The ports of services that take mail, with their lines.
    private func servicePorts() -> [(port: Int, line: Int?)] {
        guard let text = files.source.text("master.cf") else { return [(25, nil)] }
        var found: [(port: Int, line: Int?)] = []
        for line in PostfixLine.all(text) {
            let words = line.text.words.map(String.init)
            guard words.count >= 8, words[1].isSame(octets: "inet"),
                ["smtpd", "postscreen"].contains(where: { words[7].isSame(octets: $0) }),
                let last = words[0].split(octet: ":").last, let port = Self.port(String(last)),
                !found.contains(where: { $0.port == port })
            else { continue }
            found.append((port, line.number))
        }
        return found
    }

    /// A port or the name of a service.
    static func port(_ text: String) -> Int? {
        switch text.lowercasedASCII {
        case "smtp": 25
        case "submission": 587
        case "smtps", "submissions", "urd": 465
        case "lmtp": 24
        default: UInt16(text).flatMap { $0 > 0 ? Int($0) : nil }
        }
    }

    private mutating func translateNetworks() {
        let file = "relay_acl_allow"
        guard let value = take("mynetworks") else {
            let from = ImportDraft.Place(name, nil, "mynetworks")
            let style = take("mynetworks_style") ?? "host"
            let isHost = style.isSame(octets: "host")
            for network in ["127.0.0.0/8", "::1"] {
                draft.add(
                    "",
                    network,
                    of: file,
                    from: from,
                    guess: isHost ? nil : "the networks of this machine are to be added"
                )
            }
            return
        }
        taken.insert("mynetworks_style")
        var isEmpty = true
        for word in value.split(octet: ",").flatMap(\.words).map(String.init) {
            let from = place("mynetworks")
            if word.starts(withOctets: "!") {
                draft.leaveOut(from, "\(word) excludes clients: write what is left of the networks")
            } else if let network = Self.network(word) {
                draft.add("", network.text, of: file, from: from, guess: network.guess)
                isEmpty = false
            } else if word.starts(withOctets: "/"), let (path, text) = files.text(word) {
                for line in PostfixLine.all(text) {
                    let there = ImportDraft.Place(path, line.number, "mynetworks")
                    guard let network = Self.network(line.pair.key) else {
                        draft.leaveOut(there, "is no network")
                        continue
                    }
                    draft.add("", network.text, of: file, from: there, guess: network.guess)
                    isEmpty = false
                }
            } else {
                draft.leaveOut(from, "\(word) is no network")
            }
        }
        if isEmpty { draft.add("", "# nobody", of: file, from: place("mynetworks")) }
    }

    /// `127.0.0.0/8`, `[::1]/128`, `[::ffff:10.0.0.0]/104`.
    private static func network(_ word: String) -> (text: String, guess: String?)? {
        let plain = String(decoding: word.utf8.filter { $0 != 0x5B && $0 != 0x5D }, as: UTF8.self)
        let parts = plain.split(octet: "/", omittingEmpty: false)
        if let mapped = parts[0].lowercasedASCII.rest(behind: "::ffff:"), mapped.contains(octet: ".") {
            guard parts.count == 2, let bits = Int(parts[1]), bits >= 96, bits <= 128 else { return nil }
            let text = "\(mapped)/\(bits - 96)"
            return IPNetwork(text).map { _ in (text, nil) }
        }
        return IPNetwork(plain).map { _ in (plain, nil) }
    }

    private mutating func translateCertificate() {
        guard let chain = take("smtpd_tls_cert_file") else { return }
        let keyPath = take("smtpd_tls_key_file").map { $0.isSame(octets: "$smtpd_tls_cert_file") ? chain : $0 } ?? chain
        if chain.isSame(octets: "none") {
            return draft.leaveOut(place("smtpd_tls_cert_file"), "no certificate, no STARTTLS")
        }
        guard let certificate = files.bytes(chain), let key = files.bytes(keyPath) else {
            return draft.leaveOut(
                place("smtpd_tls_cert_file"),
                "certificate and key cannot be read; put them into tls_cert.pem and tls_key.pem"
            )
        }
        draft.copy(certificate, as: "tls_cert.pem", isSecret: false, from: place("smtpd_tls_cert_file"))
        draft.copy(key, as: "tls_key.pem", isSecret: true, from: place("smtpd_tls_key_file"))
    }

    // MARK: - The address that mail leaves from

    private mutating func translateSource(_ isLocal: (IPAddress) -> Bool) {
        let helo = take("smtp_helo_name")
        var addresses: [String] = []
        for name in ["smtp_bind_address", "smtp_bind_address6"] {
            guard let value = take(name), !value.isEmpty else { continue }
            guard let address = IPAddress(value) ?? IPAddress(literal: value) else {
                draft.leaveOut(place(name), "is no address")
                continue
            }
            guard isLocal(address) else {
                draft.leaveOut(
                    place(name),
                    "\(address) is not an address of this machine; write it into outbound_ip.ini there"
                )
                continue
            }
            addresses.append(address.description)
            draft.set("ip", addresses.joined(separator: ", "), in: "*", of: "outbound_ip.ini", from: place(name))
        }
        guard let helo else { return }
        if !addresses.isEmpty {
            draft.set("helo", helo, in: "*", of: "outbound_ip.ini", from: place("smtp_helo_name"))
        } else if draft.has("*", of: "routes.ini"), draft.value("mx", in: "*", of: "routes.ini") != nil {
            draft.set(
                "bind_helo",
                helo,
                in: "*",
                of: "routes.ini",
                from: place("smtp_helo_name"),
                guess: "for what [*] takes"
            )
        } else {
            draft.leaveOut(
                place("smtp_helo_name"),
                "the name to say is the one in me, or helo beside an ip in outbound_ip.ini"
            )
        }
    }
}
