// PostfixImport+Routes.swift — relayhost, transport_maps and their kin into `routes.ini`; logins and words about TLS with them.

import Config
import Mail

extension PostfixImport {
    private static let routes = "routes.ini"

    /// A next hop as Postfix writes it.
    struct NextHop: Hashable {
        /// As an `mx` line has it.
        let mx: String
        /// As tables of passwords and of TLS have it: the text that was written.
        let key: String
        var usesLMTP = false
        /// The MX of this name would be asked for, and here the host itself is.
        let wantsMX: Bool

        /// Reads `[host]:port`, `host:port`, `host`, `inet:host:port`, `unix:/path`.
        init?(_ text: String) {
            let written = text.rest(behind: "inet:").map(String.init) ?? text
            key = written
            if text.starts(withOctets: "unix:") {
                guard MX(parsing: text) != nil else { return nil }
                (mx, wantsMX, usesLMTP) = (text, false, true)
                return
            }
            let isLiteral = written.starts(withOctets: "[")
            var (host, port) = (written, "")
            if isLiteral {
                guard let end = written.lastIndex(ofOctet: "]") else { return nil }
                host = String(written[..<end].dropping(octets: 1))
                port = String(written[written.utf8.index(after: end)...].rest(behind: ":") ?? "")
            } else if let colon = written.lastIndex(ofOctet: ":") {
                (host, port) = (String(written[..<colon]), String(written[written.utf8.index(after: colon)...]))
            }
            if let address = host.rest(behind: "ipv6:") ?? host.rest(behind: "IPv6:") { host = String(address) }
            if let address = IPAddress(host) { host = address.bracketed }
            var number = ""
            if !port.isEmpty {
                guard let known = PostfixImport.port(port) else { return nil }
                number = ":\(known)"
            }
            guard MX(parsing: host + number) != nil else { return nil }
            mx = host + number
            wantsMX = !isLiteral && IPAddress(host) == nil && port.isEmpty
        }
    }

    mutating func translateRoutes() {
        translateTransports()
        translateSenders()
        translateRelayhost()
        translateTLS()
    }

    // MARK: - Tables

    private mutating func table(
        _ parameter: String,
        _ body: (inout PostfixImport, PostfixLine, ImportDraft.Place) -> Void
    ) {
        guard take(parameter) != nil else { return }
        for map in parameters.words(parameter) {
            let table = files.table(map)
            if let because = table.because {
                draft.leaveOut(place(parameter), because)
                continue
            }
            for line in table.lines {
                body(
                    &self,
                    line,
                    ImportDraft.Place(table.name, line.number, table.isStatic ? parameter : line.pair.key)
                )
            }
        }
    }

    /// A pattern of transport(5) as the name of a section.
    private static func section(_ pattern: String) -> String? {
        if pattern.isSame(octets: "*") { return "*" }
        let text = pattern.rest(behind: ".").map { "*.\($0)" } ?? pattern
        return Routes.normalized(text)
    }

    private mutating func translateTransports() {
        table("transport_maps") { work, line, place in
            let (key, value) = line.pair
            guard let section = Self.section(key) else {
                return work.draft.leaveOut(place, "is no address, domain, .suffix or *")
            }
            work.route(section, value, place)
        }
        for name in ["default_transport", "relay_transport"] {
            guard let value = take(name) else { continue }
            let plain = value.split(octet: ":", omittingEmpty: false)
            guard plain.count > 1, !(plain.last?.isEmpty ?? true) else { continue }
            if name.isSame(octets: "default_transport") {
                route("*", value, place(name))
            } else {
                draft.leaveOut(
                    place(name),
                    "it is for relay_domains, which have no counterpart: write a section for each"
                )
            }
        }
    }

    /// `transport:nexthop` of one pattern.
    private mutating func route(_ section: String, _ value: String, _ place: ImportDraft.Place) {
        let parts = value.split(octet: ":", maxSplits: 1, omittingEmpty: false).map(String.init)
        let transport = parts[0].lowercasedASCII
        let hop = parts.count > 1 ? parts[1] : ""
        switch transport {
        case "error", "discard", "retry", "defer": return end(transport, hop, section, place)
        case "local", "virtual", "pipe", "maildrop", "dovecot", "cyrus", "procmail":
            return draft.leaveOut(place, "\(transport) delivers on this machine; there are no mailboxes here")
        default: break
        }
        if hop.isEmpty {
            guard !section.isSame(octets: "*") else { return draft.leaveOut(place, "the DNS decides, as without it") }
            return draft.set("direct", "true", in: section, of: Self.routes, from: place)
        }
        let isLMTP = transport.isSame(octets: "lmtp")
        let isKnown = isLMTP || ["", "smtp", "relay"].contains { transport.isSame(octets: $0) }
        let because = isKnown ? nil : "\(transport) is taken for SMTP"
        add(hop, to: section, place, isLMTP: isLMTP, because: because)
    }

    /// Mail that goes nowhere: `error:5.1.1 text`, `retry:4.2.0 text`, `discard:text`.
    private mutating func end(_ transport: String, _ text: String, _ section: String, _ place: ImportDraft.Place) {
        let isDiscard = transport.isSame(octets: "discard")
        var words = text.words.joined(separator: " ")
        if !isDiscard {
            words = "\(transport.isSame(octets: "error") ? "550" : "450")\(words.isEmpty ? "" : " \(words)")"
        } else if words.isEmpty {
            words = "true"
        }
        let key = isDiscard ? "discard" : "reject"
        // What stands behind a semicolon would be a comment.
        let plain = words.split(octet: ";").joined(separator: ",")
        var (value, guess): (String, String?) = (plain, nil)
        do throws(ValueError) { _ = try RouteEnding.read(key, plain) } catch {
            (value, guess) = ("true", "its text \(error.reason)")
        }
        draft.set(key, value, in: section, of: Self.routes, from: place, guess: guess)
    }

    /// Hosts of a section.
    private mutating func add(
        _ text: String,
        to section: String,
        _ place: ImportDraft.Place,
        isLMTP: Bool = false,
        because: String? = nil
    ) {
        for written in text.split(octet: ",").flatMap(\.words).map(String.init) {
            let relative = written.rest(behind: "unix:").flatMap { $0.starts(withOctets: "/") ? nil : String($0) }
            let directory = parameters["queue_directory"] ?? "/var/spool/postfix"
            let word = relative.map { "unix:\(directory)/\($0)" } ?? written
            guard var hop = NextHop(word) else {
                draft.leaveOut(place, "a next hop that is no host")
                continue
            }
            hop.usesLMTP = hop.usesLMTP || isLMTP
            let guess =
                relative != nil
                ? "the path is below Postfix's queue directory"
                : hop.wantsMX
                    ? "Postfix asks for the MX of this name; here the host itself is tried, or write the names of its MX"
                    : nil
            let line = hop.usesLMTP && !hop.mx.starts(withOctets: "unix:") ? "\(hop.mx) using_lmtp=true" : hop.mx
            draft.add("mx", line, in: section, of: Self.routes, from: place, guess: because ?? guess)
            login(hop, section, nil)
            protect(hop, section, place)
        }
    }

    private mutating func translateSenders() {
        for name in ["sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps"] {
            table(name) { work, line, place in
                let (key, value) = line.pair
                guard !value.uppercasedASCII.isSame(octets: "DUNNO") else {
                    return work.draft.leaveOut(place, "DUNNO: the other rules decide, as without it")
                }
                let pattern = key.rest(behind: "@").map(String.init) ?? key
                guard let section = Routes.normalized("sender \(pattern)") else {
                    return work.draft.leaveOut(place, "is no sender's address or domain; for all of them write [*]")
                }
                // What counts is transport_maps, which were translated already.
                if work.draft.value("mx", in: "*", of: Self.routes) != nil {
                    work.draft.leaveOut(
                        place,
                        "kept, and note: Postfix asks the pattern * of transport_maps first; here [sender …] comes before [*]"
                    )
                }
                let hasTransport = name.contains(octets: "transport")
                if hasTransport { work.route(section, value, place) } else { work.add(value, to: section, place) }
                if let hop = NextHop(value) { work.login(hop, section, pattern) }
            }
        }
        if let word = take("smtp_sender_dependent_authentication"), !Self.isYes(word) {
            draft.leaveOut(place("smtp_sender_dependent_authentication"), "it is off")
        }
    }

    private mutating func translateRelayhost() {
        if let value = take("relayhost") {
            if value.isEmpty {
                draft.leaveOut(place("relayhost"), "it is empty: the DNS decides, as here")
            } else if draft.value("mx", in: "*", of: Self.routes) != nil {
                draft.leaveOut(place("relayhost"), "a pattern * of transport_maps counts more")
            } else {
                add(value, to: "*", place("relayhost"))
            }
        }
        for name in ["smtp_fallback_relay", "fallback_relay"] {
            guard let value = take(name), !value.isEmpty else { continue }
            guard draft.value("mx", in: "*", of: Self.routes) != nil else {
                draft.leaveOut(place(name), "there is no second way behind the DNS")
                continue
            }
            add(value, to: "*", place(name), because: "it is tried behind the others")
        }
    }

    // MARK: - Logins

    /// The login for a next hop, from `smtp_sasl_password_maps`.
    private mutating func login(_ hop: NextHop, _ section: String, _ sender: String?) {
        guard Self.isYes(parameters["smtp_sasl_auth_enable"] ?? "no") else { return }
        let bySender = Self.isYes(parameters["smtp_sender_dependent_authentication"] ?? "no")
        for map in parameters.words("smtp_sasl_password_maps") {
            let table = files.table(map)
            guard table.because == nil else { continue }
            let bare = hop.key.split(octet: "]").first.map { "\($0)]" } ?? hop.key
            let keys =
                (bySender ? [sender, sender.map { "@\($0)" }].compactMap(\.self) : [])
                + [hop.key, bare, hop.mx, String(hop.mx.split(octet: ":").first ?? "")]
            guard
                let line = keys.lazy.compactMap({ key in
                    table.lines.first {
                        table.isStatic || $0.pair.key.lowercasedASCII.isSame(octets: key.lowercasedASCII)
                    }
                }).first
            else { continue }
            guard let colon = line.pair.value.firstIndex(ofOctet: ":") else { continue }
            let user = String(line.pair.value[..<colon])
            let password = String(line.pair.value[line.pair.value.utf8.index(after: colon)...])
            let place = ImportDraft.Place(
                table.name,
                line.number,
                table.isStatic ? "smtp_sasl_password_maps" : line.pair.key
            )
            guard !user.isEmpty, !password.isEmpty else { continue }
            draft.set("auth_user", user, in: section, of: Self.routes, from: place)
            let reference = draft.keep(secret: password, as: section.isSame(octets: "*") ? "smarthost" : section)
            draft.set("auth_pass", reference, in: section, of: Self.routes, from: place)
            return
        }
    }

    // MARK: - TLS

    /// What `smtp_tls_policy_maps` says of a next hop, or `smtp_tls_security_level` where it has more than the DNS can be held to.
    private mutating func protect(_ hop: NextHop, _ section: String, _ place: ImportDraft.Place) {
        guard !hop.mx.starts(withOctets: "unix:") else { return }
        for map in parameters.words("smtp_tls_policy_maps") {
            let table = files.table(map)
            let keys = [hop.key, hop.mx, String(hop.mx.split(octet: ":").first ?? "")]
            // As Postfix looks: for the next hop as it is written, then for its name alone.
            let found = keys.lazy.compactMap { key in
                table.lines.first {
                    table.isStatic || $0.pair.key.lowercasedASCII.isSame(octets: key.lowercasedASCII)
                }
            }.first
            guard table.because == nil, let line = found else { continue }
            let from = ImportDraft.Place(table.name, line.number, line.pair.key)
            return level(line.pair.value.words.first.map(String.init) ?? "", section, from)
        }
        if let word = parameters["smtp_tls_security_level"], !word.isEmpty {
            level(word, section, self.place("smtp_tls_security_level"))
        } else if Self.isYes(parameters["smtp_enforce_tls"] ?? "no") {
            level("encrypt", section, self.place("smtp_enforce_tls"))
        }
        guard Self.isYes(parameters["smtp_tls_wrappermode"] ?? "no") else { return }
        draft.set("implicit_tls", "true", in: section, of: Self.routes, from: self.place("smtp_tls_wrappermode"))
    }

    private mutating func level(_ word: String, _ section: String, _ place: ImportDraft.Place) {
        let levels = ["none": "off", "may": "may", "encrypt": "require", "verify": "verify", "secure": "verify"]
        if let level = levels[word.lowercasedASCII] {
            if level.isSame(octets: "off"), Self.isYes(parameters["smtp_tls_wrappermode"] ?? "no") { return }
            return draft.set("tls", level, in: section, of: Self.routes, from: place)
        }
        switch word.lowercasedASCII {
        case "dane-only": draft.set("tls", "dane", in: section, of: Self.routes, from: place)
        case "dane":
            draft.set(
                "tls",
                "may",
                in: section,
                of: Self.routes,
                from: place,
                guess: "where TLSA records are, they are demanded anyway"
            )
        default: draft.lose(place, "the level \(ImportDraft.harmless(word, limit: 20)) has no counterpart")
        }
    }

    private mutating func translateTLS() {
        let hasWay = draft.value("mx", in: "*", of: Self.routes) != nil
        let word = (take("smtp_tls_security_level") ?? "").lowercasedASCII
        let isEnforced = take("smtp_enforce_tls").map(Self.isYes) ?? false
        let isUsed = take("smtp_use_tls").map(Self.isYes) ?? false
        let level = word.isEmpty ? (isEnforced ? "encrypt" : isUsed ? "may" : "") : word
        let from =
            word.isEmpty
            ? isEnforced ? place("smtp_enforce_tls") : place("smtp_use_tls") : place("smtp_tls_security_level")
        let file = OutboundSettings.file
        switch level {
        case "":
            draft.set("enable_tls", "false", of: file, from: ImportDraft.Place(name, nil, "smtp_tls_security_level"))
        case "none": draft.set("enable_tls", "false", of: file, from: from)
        case "may", "dane":
            draft.set(
                "enable_tls",
                "true",
                of: file,
                from: from,
                guess: level.isSame(octets: "dane") ? "DANE counts with a trust anchor in resolver.ini" : nil
            )
        default:
            draft.set(
                "enable_tls",
                "true",
                of: file,
                from: from,
                guess: hasWay ? "the sections of routes.ini say more" : nil
            )
            if !hasWay {
                draft.lose(from, "\(level) for every server of the DNS: only the hosts of a route can be held to it")
            }
        }
        taken.formUnion([
            "smtp_tls_wrappermode", "smtp_sasl_auth_enable", "smtp_sasl_password_maps", "smtp_tls_policy_maps",
        ])
        remarkOnTables()
        guard let path = take("smtp_tls_CAfile"), !path.isEmpty else { return }
        guard let bytes = files.bytes(path) else {
            return draft.leaveOut(place("smtp_tls_CAfile"), "it cannot be read, so the system's authorities count")
        }
        draft.copy(bytes, as: "tls_ca.pem", isSecret: false, from: place("smtp_tls_CAfile"))
        draft.set("tls_ca_file", "tls_ca.pem", of: file, from: place("smtp_tls_CAfile"))
    }

    /// Lines of passwords and policies that no route took.
    private mutating func remarkOnTables() {
        let said = Set(draft.remarks.map { "\($0.place) \($0.what)" })
        for name in ["smtp_sasl_password_maps", "smtp_tls_policy_maps"] where parameters[name] != nil {
            let isOff = name.contains(octets: "sasl") && !Self.isYes(parameters["smtp_sasl_auth_enable"] ?? "no")
            for map in parameters.words(name) {
                let table = files.table(map)
                if let because = table.because {
                    draft.lose(place(name), because)
                    continue
                }
                for line in table.lines where !table.isStatic {
                    let from = ImportDraft.Place(table.name, line.number, line.pair.key)
                    if said.contains(where: { $0.isSame(octets: "\(from.text) \(from.what)") }) { continue }
                    let word = (line.pair.value.words.first ?? "").lowercasedASCII
                    let isWish = name.contains(octets: "sasl") || ["none", "may"].contains { word.isSame(octets: $0) }
                    let because = isOff ? "smtp_sasl_auth_enable is off" : "no route leads to this next hop"
                    if isWish {
                        draft.leaveOut(from, because)
                    } else {
                        draft.lose(
                            from,
                            "TLS was demanded of it, and no route leads to it: write a section of routes.ini"
                        )
                    }
                }
            }
        }
    }
}
