// HarakaImport.swift — a Haraka configuration directory into one of ours: files of the same name key by key, and those that
// have another name here.
//
// What a key means is for `Config` to say: known ones are taken, Haraka's own get the remark or the refusal of `ForeignKeys`.

import Config
import Mail

/// The translation of a Haraka directory.
package struct HarakaImport {
    let source: ImportSource
    var draft = ImportDraft()

    /// Translates.
    ///
    /// - Parameter source: the files of the directory, by their names.
    package static func draft(_ source: ImportSource) -> ImportDraft {
        var work = HarakaImport(source: source)
        work.takeNames()
        for file in [ListenerSettings.file, OutboundSettings.file, TLSSettings.file] { work.takeKeys(file) }
        work.takeUsers()
        work.takeSingles()
        work.takeRoutes()
        work.takeKeysOfDKIM()
        work.takePlugins()
        work.fillIn()
        work.leaveRest()
        return work.draft
    }

    private init(source: ImportSource) { self.source = source }

    func document(_ file: String) -> INIDocument? { source.text(file).map { INIDocument(parsing: $0) } }

    // MARK: - Files of the same name

    private mutating func takeNames() {
        for file in ["me", "relay_acl_allow"] {
            guard let text = source.text(file) else { continue }
            for (number, line) in Self.lines(text) {
                draft.add(
                    "",
                    line,
                    of: file,
                    from: ImportDraft.Place(file, number, file.starts(withOctets: "me") ? "the name" : "a network")
                )
            }
            if file.starts(withOctets: "relay"), Self.lines(text).isEmpty {
                draft.add("", "# nobody", of: file, from: ImportDraft.Place(file, nil, "no network"))
            }
        }
        if let bytes = source.contents("outbound.bounce_message") {
            draft.copy(
                bytes,
                as: "outbound.bounce_message",
                isSecret: false,
                from: ImportDraft.Place("outbound.bounce_message", nil, "the text")
            )
        }
        let key = source.contents("tls_key.pem")
        if let key, let chain = source.contents("tls_cert.pem") {
            draft.copy(key, as: "tls_key.pem", isSecret: true, from: ImportDraft.Place("tls_key.pem", nil, "the key"))
            draft.copy(
                chain,
                as: "tls_cert.pem",
                isSecret: false,
                from: ImportDraft.Place("tls_cert.pem", nil, "the certificate")
            )
        }
    }

    /// Lines that are no comment, with their numbers.
    static func lines(_ text: String) -> [(number: Int, text: String)] {
        text.utf8.split(octet: "\n", omittingEmpty: false).enumerated().compactMap {
            index,
            octets in
            let line = Substring(octets).trimmed
            return line.isEmpty || line.starts(withOctets: "#") || line.starts(withOctets: ";")
                ? nil : (index + 1, String(line))
        }
    }

    private mutating func takeKeys(_ file: String) {
        guard let document = document(file) else { return }
        for entry in document.entries {
            let section = entry.section == "main" ? nil : entry.section
            let name = (section.map { "[\($0)] " } ?? "") + entry.key
            let place = ImportDraft.Place(file, entry.line, name)
            if SettingsReader.knows(entry.key, in: section, of: file) {
                takeKnown(entry, section, file, place)
                continue
            }
            switch ForeignKeys.verdict(entry, in: file) {
            case .remark(let remedy): if !translate(entry, section, file, place) { draft.leaveOut(place, remedy) }
            case .refused(let reason): draft.lose(place, reason)
            case nil: draft.leaveOut(place, "no version of Haraka that is known here has it")
            }
        }
        for line in document.malformedLines.prefix(100) {
            draft.leaveOut(
                ImportDraft.Place(file, line, "a line of a list"),
                "it has no counterpart; see FromHaraka.md"
            )
        }
    }

    private mutating func takeKnown(
        _ entry: INIDocument.Entry,
        _ section: String?,
        _ file: String,
        _ place: ImportDraft.Place
    ) {
        let isFileName =
            file.isSame(octets: TLSSettings.file) && ["key", "cert"].contains { entry.key.isSame(octets: $0) }
        if isFileName {
            guard let bytes = source.contents(entry.value) ?? source.contents("config/\(entry.value)") else {
                return draft.leaveOut(place, "the file cannot be read")
            }
            let isKey = entry.key.isSame(octets: "key")
            return draft.copy(bytes, as: isKey ? "tls_key.pem" : "tls_cert.pem", isSecret: isKey, from: place)
        }
        // Several addresses, blanks and `[::0]` are understood.
        guard SettingsReader.takes(entry.value, for: entry.key, in: section, of: file) else {
            return draft.leaveOut(place, "its value is not taken by \(entry.key) here")
        }
        draft.set(entry.key, entry.value, in: section, of: file, from: place)
    }

    /// Keys of Haraka that have another name here.
    private mutating func translate(
        _ entry: INIDocument.Entry,
        _ section: String?,
        _ file: String,
        _ place: ImportDraft.Place
    ) -> Bool {
        guard file.isSame(octets: ListenerSettings.file) else { return false }
        let twin: (key: String, section: String?, value: String)?
        switch (section, entry.key) {
        case (nil, "port"):
            guard document(file)?.value("listen", in: nil) == nil else { return false }
            twin = ("listen", nil, "0.0.0.0:\(entry.value), [::]:\(entry.value)")
        case (nil, "inactivity_timeout"): twin = ("command", "timeouts", entry.value)
        case (nil, "max_received_count"), ("headers", "max_received"):
            twin = ("received_headers", "limits", entry.value)
        default: twin = nil
        }
        guard let twin, SettingsReader.takes(twin.value, for: twin.key, in: twin.section, of: file) else {
            return false
        }
        draft.set(twin.key, twin.value, in: twin.section, of: file, from: place)
        return true
    }

    private mutating func takeUsers() {
        let file = AuthSettings.file
        guard let document = document(file) else { return }
        for entry in document.entries {
            let isUser = entry.section?.isSame(octets: "users") ?? false
            let place = ImportDraft.Place(file, entry.line, isUser ? "[users] \(entry.key)" : entry.key)
            guard isUser || SettingsReader.knows(entry.key, in: entry.section, of: file) else {
                draft.leaveOut(place, "it has no counterpart")
                continue
            }
            if isUser, entry.cut != nil {
                draft.leaveOut(place, "blanks or \" ;\" around the password: martlet passwd writes it as a hash")
                continue
            }
            draft.set(entry.key, entry.value, in: entry.section, of: file, from: place)
        }
    }

    // MARK: - Files with one value

    private mutating func takeSingles() {
        if let text = source.text("databytes"), let (line, value) = Self.lines(text).first {
            let place = ImportDraft.Place("databytes", line, "databytes")
            if value.isSame(octets: "0") {
                draft.set(
                    "message_bytes",
                    "1024G",
                    in: "limits",
                    of: ListenerSettings.file,
                    from: place,
                    guess: "there is no \"no limit\" here"
                )
            } else if SettingsReader.takes(value, for: "message_bytes", in: "limits", of: ListenerSettings.file) {
                draft.set("message_bytes", value, in: "limits", of: ListenerSettings.file, from: place)
            } else {
                draft.leaveOut(place, "it is no number of bytes")
            }
        }
        let file = OutboundSettings.file
        for key in OutboundSettings.keys.map(\.name) + ["pool_concurrency_max"] {
            guard let text = source.text("outbound.\(key)"), let (line, value) = Self.lines(text).first else {
                continue
            }
            let place = ImportDraft.Place("outbound.\(key)", line, key)
            guard draft.value(key, of: file) == nil, SettingsReader.takes(value, for: key, in: nil, of: file) else {
                draft.leaveOut(place, "outbound.ini says it, or its value is not taken here")
                continue
            }
            draft.set(key, value, of: file, from: place)
        }
    }

    // MARK: - Keys of DKIM

    private mutating func takeKeysOfDKIM() {
        let (file, section) =
            source.contents("dkim_sign.ini") != nil ? ("dkim_sign.ini", nil) : ("dkim.ini", "sign" as String?)
        guard let document = document(file) else { return }
        let place = ImportDraft.Place(file, nil, "signing")
        let isOff =
            section == nil
            ? ForeignKeys.isYes(document.value("disabled", in: nil) ?? "false")
            : !ForeignKeys.isYes(document.value("enabled", in: section) ?? "false")
        if isOff { return draft.leaveOut(place, "it is off") }
        let usual = document.value("domain", in: section) ?? ""
        var found = false
        for domain in Set([usual] + (source.text("dkim/domains").map { Self.lines($0).map(\.text) } ?? [])).sorted()
        where !domain.isEmpty {
            let own = source.text("dkim/\(domain)/selector").flatMap { Self.lines($0).first?.text }
            guard let selector = own ?? document.value("selector", in: section), DKIMSettings.isSelector(selector),
                let name = Domain(domain),
                let key = source.contents("dkim/\(domain)/private") ?? source.contents("dkim.private.key")
            else {
                draft.lose(
                    ImportDraft.Place("dkim/\(domain)", nil, "the key"),
                    "it cannot be read with its selector, so mail would leave unsigned"
                )
                continue
            }
            draft.copy(
                key,
                as: DKIMSettings.keyFile(name, selector),
                isSecret: true,
                from: ImportDraft.Place("dkim/\(domain)/private", nil, "the key")
            )
            draft.set("selectors", selector, in: name.name, of: DKIMSettings.file, from: place)
            found = true
        }
        if !found, usual.isEmpty {
            draft.lose(
                place,
                "mail was signed, and no domain is named: martlet dkim generate makes keys, or put them into dkim/DOMAIN/SELECTOR.pem"
            )
        }
    }

    // MARK: - The rest

    /// What Haraka does where nothing is said.
    private mutating func fillIn() {
        draft.fill(
            "enable_tls",
            "true",
            of: OutboundSettings.file,
            from: ImportDraft.Place(OutboundSettings.file, nil, "enable_tls"),
            guess: "on where nothing is said since Haraka 2.8, off in 2015"
        )
        draft.fill(
            "listen",
            "0.0.0.0:25, [::]:25",
            of: ListenerSettings.file,
            from: ImportDraft.Place(ListenerSettings.file, nil, "listen"),
            guess: "where nothing is said"
        )
    }

    private mutating func takePlugins() {
        guard let text = source.text("plugins") else { return }
        let builtIn = [
            "process_title", "auth/flat_file", "relay", "tls", "dkim_sign", "dkim", "toobusy", "queue/smtp_forward",
            "queue/smtp_proxy", "queue/lmtp", "recipient-routes", "early_talker", "headers", "watch",
        ]
        for (line, plugin) in Self.lines(text) {
            let place = ImportDraft.Place("plugins", line, plugin)
            let isBuiltIn = builtIn.contains { plugin.isSame(octets: $0) }
            draft.leaveOut(
                place,
                isBuiltIn
                    ? "what it does is built in" : "write a program for hooks.ini if it had a say in mail that leaves"
            )
        }
    }

    private mutating func leaveRest() {
        let known = [
            "smtp_bridge.ini", "relay.ini", "access.ini", "limit.ini", "connection.ini", "vmta.ini", "auth_ldap.ini",
            "auth_proxy.ini", "auth_enc_file.ini", "log.ini", "loglevel", "queue_dir", "outbound.bounce_message_html",
            "outbound.bounce_message_image", "max_unrecognized_commands", "smtpgreeting", "haproxy_hosts", "aliases",
            "host_list", "plugin_timeout", "rate_limit.ini",
        ]
        for file in known where source.contents(file) != nil {
            draft.leaveOut(
                ImportDraft.Place(file, nil, "the file"),
                "it is not translated; FromHaraka.md says what takes its place"
            )
        }
    }
}
