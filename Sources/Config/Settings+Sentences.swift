// Settings+Sentences.swift — what a configuration comes to, in three sentences: for people who just wrote or copied one.

import Mail

extension Settings {
    /// Who may relay, how mail leaves, what TLS does; one line each, without any secret.
    package var sentences: [String] {
        ["Who may relay: \(whoMayRelay).", "How mail leaves: \(howMailLeaves).", "What TLS does: \(whatTLSDoes)."]
    }

    // MARK: - In

    private var whoMayRelay: String {
        var whom: [String] = []
        if relayNetworks.contains(where: { $0.prefix == 0 }) {
            whom.append("EVERYBODY, as relay_acl_allow says")
        } else if !relayNetworks.isEmpty {
            whom.append("clients at \(Self.list(relayNetworks.map(\.description)))")
        }
        if !auth.users.isEmpty {
            let place = auth.allowsPlaintext || tls.isAvailable ? "" : ", from this machine only while there is no TLS"
            whom.append("\(Self.count(auth.users.count, "user")) who log in\(place)")
        }
        if !relayCertificates.isEmpty, tls.requestsCertificate {
            whom.append("owners of \(Self.count(relayCertificates.count, "certificate"))")
        }
        guard !whom.isEmpty else { return "nobody; relay_acl_allow is empty and there are no users" }
        let senders = listener.allowedSenderDomains.map(\.name).sorted()
        return whom.joined(separator: "; ") + (senders.isEmpty ? "" : "; with senders at \(Self.list(senders)) only")
    }

    // MARK: - Out

    private var howMailLeaves: String {
        var text = wayOfEverything
        let others = routes.all.keys.filter { !$0.isSame(octets: "*") }.count
        if others > 0 {
            text += ", but for what \(Self.count(others, "other section")) of routes.ini \(Self.verb(others))"
        }
        if outbound.isDisabled {
            let reason = outbound.disabledReason.isEmpty ? "" : " (\(ValueParsing.shown(outbound.disabledReason)))"
            text += "; not now, as delivery is disabled\(reason)"
        }
        return text
    }

    private var wayOfEverything: String {
        let hosts: [MX]
        switch routes.route(named: "*")?.way {
        case .hosts(let found)?: hosts = found
        case .reject(let reply)?: return "nowhere, for [*] rejects everything (\(reply))"
        case .discard?: return "nowhere, for [*] discards everything"
        case .direct?, nil: return "to the hosts that the DNS names for each recipient's domain"
        }
        let login = hosts.contains { $0.auth != nil } ? ", with a login" : ""
        return "everything to \(Self.list(hosts.map(\.description)))\(login)"
    }

    // MARK: - TLS

    private var whatTLSDoes: String { "\(protectionOut); \(protectionIn)" }

    private var protectionOut: String {
        let hosts = routes.route(named: "*")?.hosts ?? []
        let levels = Set(hosts.map { $0.tls.map(Self.demand) ?? ($0.implicitTLS ? Self.demand(.require) : common) })
        let text = levels.isEmpty ? common : levels.sorted().joined(separator: ", or ")
        let others = routes.all.values.filter { route in
            !route.match.isSame(octets: "*") && route.hosts.contains { $0.tls != nil || $0.implicitTLS }
        }.count
        return others == 0
            ? text : "\(text), and what \(Self.count(others, "other section")) of routes.ini \(Self.verb(others))"
    }

    private var common: String {
        outbound.isTLSEnabled
            ? "mail leaves encrypted where a server offers it, and as DANE and MTA-STS demand"
            : "mail leaves in the clear, for outbound.ini has no enable_tls = true"
    }

    private static func demand(_ level: TLSLevel) -> String {
        switch level {
        case .off: "mail leaves in the clear, as [*] says"
        case .may: "mail leaves encrypted where the server of [*] offers it"
        case .require: "mail leaves encrypted or not at all, as [*] says"
        case .verify: "mail leaves encrypted, to a server whose certificate can be verified, or not at all"
        case .dane: "mail leaves encrypted, to a server with a certificate that the DNS names, or not at all"
        }
    }

    private var protectionIn: String {
        guard tls.isAvailable else {
            return "clients are offered none, for there is no certificate (martlet tls self-signed)"
        }
        return listener.securePlaces.isEmpty
            ? "clients are offered STARTTLS" : "clients are offered STARTTLS, and begin with TLS on smtps_listen"
    }

    // MARK: - Words

    private static let mostListed = 6

    private static func list(_ words: [String]) -> String {
        let rest = words.count - mostListed
        return words.prefix(mostListed).joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
    }

    private static func count(_ number: Int, _ word: String) -> String { "\(number) \(word)\(number == 1 ? "" : "s")" }

    private static func verb(_ number: Int) -> String { number == 1 ? "says" : "say" }
}
