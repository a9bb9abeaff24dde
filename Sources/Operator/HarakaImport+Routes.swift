// HarakaImport+Routes.swift — the tables of next hops that Haraka's plugins have, into `routes.ini`.

import Config
import Mail

extension HarakaImport {
    private static let routes = "routes.ini"

    mutating func takeRoutes() {
        takeForwards()
        takeTable("rcpt_to.routes.ini")
        takeDestinations()
        // What was ours already.
        guard let document = document(Self.routes) else { return }
        for entry in document.entries {
            guard let section = entry.section else { continue }
            let place = ImportDraft.Place(Self.routes, entry.line, "[\(section)] \(entry.key)")
            draft.leaveOut(place, "it is not Haraka's; write it into routes.ini")
        }
    }

    /// The file of the plugin that Haraka would queue with: that which `plugins` names first, else the first that has a host.
    ///
    /// Two of them never share the mail.
    private mutating func takeForwards() {
        let files = [("smtp_forward.ini", "smtp_forward"), ("smtp_proxy.ini", "smtp_proxy"), ("lmtp.ini", "lmtp")]
        let there = files.filter { source.contents($0.0) != nil }
        let named = Self.lines(source.text("plugins") ?? "").compactMap { _, plugin in
            there.first { plugin.isSame(octets: "queue/\($0.1)") || plugin.isSame(octets: $0.1) }
        }
        let chosen = named.first ?? there.first
        for (file, plugin) in there {
            guard let chosen, file.isSame(octets: chosen.0) else {
                let why =
                    named.isEmpty
                    ? "\(chosen?.0 ?? "") leads elsewhere, and plugins does not say which" : "plugins names another"
                draft.leaveOut(ImportDraft.Place(file, nil, "the file"), why)
                continue
            }
            takeForward(file, isLMTP: plugin.isSame(octets: "lmtp"))
        }
    }

    /// `host`, `port` and the login, before any section for all mail, in one for a domain.
    private mutating func takeForward(_ file: String, isLMTP: Bool) {
        guard let document = document(file) else { return }
        let bySender = document.value("domain_selector", in: nil)?.isSame(octets: "mail_from") ?? false
        var sections: [String?] = [nil]
        for section in document.sections where !section.isSame(octets: "main") { sections.append(section) }
        let taken = ["host", "port", "path", "auth_type", "auth_user", "auth_pass", "enable_tls", "domain_selector"]
        for section in sections {
            let name =
                section.flatMap { Routes.normalized((bySender ? "sender " : "") + $0) } ?? (section == nil ? "*" : nil)
            let entries = document.entries.filter { ($0.section == "main" ? nil : $0.section) == section }
            func place(_ key: String) -> ImportDraft.Place {
                ImportDraft.Place(
                    file,
                    entries.last { $0.key.isSame(octets: key) }?.line,
                    (section.map { "[\($0)] " } ?? "") + key
                )
            }
            func value(_ key: String) -> String? { entries.last { $0.key.isSame(octets: key) }?.value }
            for entry in entries where !taken.contains(where: { entry.key.isSame(octets: $0) }) {
                draft.leaveOut(place(entry.key), "outbound.ini has timeouts and numbers of sessions")
            }
            guard let name else {
                draft.leaveOut(ImportDraft.Place(file, nil, "[\(section ?? "")]"), "it is no domain")
                continue
            }
            if let path = value("path"), isLMTP {
                draft.add("mx", "unix:\(path)", in: name, of: Self.routes, from: place("path"))
            } else {
                guard let host = value("host") else { continue }
                let mx = (IPAddress(host)?.bracketed ?? host) + ":" + (value("port") ?? (isLMTP ? "24" : "25"))
                guard MX(parsing: mx) != nil else {
                    draft.leaveOut(place("host"), "it is no host")
                    continue
                }
                draft.add("mx", mx + (isLMTP ? " using_lmtp=true" : ""), in: name, of: Self.routes, from: place("host"))
            }
            if let word = value("enable_tls"), ForeignKeys.isYes(word) {
                draft.set(
                    "tls",
                    "may",
                    in: name,
                    of: Self.routes,
                    from: place("enable_tls"),
                    guess: "better require, or verify"
                )
            }
            login(value("auth_user"), value("auth_pass"), value("auth_type"), name, place)
        }
    }

    private mutating func login(
        _ user: String?,
        _ password: String?,
        _ type: String?,
        _ section: String,
        _ place: (String) -> ImportDraft.Place
    ) {
        guard let user, let password, !user.isEmpty, !password.isEmpty else { return }
        draft.set("auth_user", user, in: section, of: Self.routes, from: place("auth_user"))
        let reference = draft.keep(secret: password, as: section.isSame(octets: "*") ? "smarthost" : section)
        draft.set("auth_pass", reference, in: section, of: Self.routes, from: place("auth_pass"))
        guard let type = type?.lowercasedASCII, ["plain", "login", "cram-md5"].contains(type) else { return }
        draft.set("auth_type", type, in: section, of: Self.routes, from: place("auth_type"))
    }

    /// `rcpt_to.routes.ini`: an address or a domain, and a URI.
    private mutating func takeTable(_ file: String) {
        guard let document = document(file) else { return }
        for entry in document.entries {
            let place = ImportDraft.Place(file, entry.line, entry.key)
            guard entry.section?.isSame(octets: "redis") != true else {
                draft.leaveOut(place, "there is no Redis here")
                continue
            }
            guard let section = Routes.normalized(entry.key) else {
                draft.leaveOut(place, "it is no address and no domain")
                continue
            }
            hop(entry.value, section, place)
        }
    }

    /// A next hop as text or URI, its login kept apart.
    private mutating func hop(_ text: String, _ section: String, _ place: ImportDraft.Place) {
        guard let mx = MX(parsing: text) else { return draft.leaveOut(place, "it is no next hop") }
        var line =
            mx.isSocket ? "unix:\(mx.exchange)" : "\(IPAddress(mx.exchange)?.bracketed ?? mx.exchange):\(mx.port)"
        if mx.usingLMTP, !mx.isSocket { line += " using_lmtp=true" }
        draft.add("mx", line, in: section, of: Self.routes, from: place)
        if mx.implicitTLS { draft.set("implicit_tls", "true", in: section, of: Self.routes, from: place) }
        guard let auth = mx.auth, case .password(let secret) = auth.proof else { return }
        login(auth.user, secret.revealed, nil, section) { _ in place }
    }

    /// `relay_dest_domains.ini`: `domain = {"action": "continue", "nexthop": "10.0.0.5:25"}`.
    private mutating func takeDestinations() {
        let file = "relay_dest_domains.ini"
        guard let document = document(file) else { return }
        for entry in document.entries {
            let place = ImportDraft.Place(file, entry.line, entry.key)
            guard let next = entry.value.utf8.firstRange(of: "\"nexthop\"".utf8) else {
                draft.leaveOut(place, "who may relay may send anywhere")
                continue
            }
            let pieces = entry.value[next.upperBound...].split(octet: "\"")
            guard pieces.count >= 2, let section = Routes.normalized(entry.key) else {
                draft.leaveOut(place, "its nexthop is not understood")
                continue
            }
            hop(String(pieces[1]), section, place)
        }
    }
}
