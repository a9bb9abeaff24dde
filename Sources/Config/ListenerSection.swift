// ListenerSection.swift — `[listener NAME]` of `smtp.ini`: places to listen with words of their own; what a section does
// not say is said by the rest of the file.

package import Mail

/// A section `[listener NAME]`.
package struct ListenerSection: Hashable, Sendable {
    /// What stands behind `listener`.
    package let name: String
    /// `listen` and `smtps_listen`.
    package var listen: [ListenAddress] = []
    package var smtpsListen: [ListenAddress] = []
    /// `auth_required`: nobody relays here but who has logged in.
    package var requiresLogin = false
    /// `networks`: who relays here without a login; nil: those of `relay_acl_allow`.
    package var networks: [IPNetwork]?
    /// `lenient`; nil: as `[main]` has it.
    package var isLenient: Bool?
    /// `hostname`: what we call ourselves here; nil: `me`.
    package var hostName: Domain?
    /// `message_bytes`; nil: as `[limits]` has it.
    package var messageBytes: Int?
    /// `recipients`; nil: as `[limits]` has it.
    package var recipients: Int?
    /// `errors`; nil: as `[limits]` has it.
    package var errors: Int?
    /// `allowed_sender_domains`; nil: as `[main]` has it.
    package var senderDomains: Set<Domain>?

    /// `srs`: it takes mail that is forwarded; senders become addresses of `[srs]` in `rewrite.ini`.
    package var forwards = false

    package init(_ name: String) { self.name = name }

    /// Both.
    package var everywhere: [ListenAddress] { listen + smtpsListen }
}

extension ListenerSettings {
    /// The section that a connection came in at; nil: none, the rest of the file counts.
    ///
    /// An address counts before one that takes everything at its port.
    package func section(at here: ListenAddress) -> ListenerSection? {
        guard !sections.isEmpty else { return nil }
        if let exact = sections.first(where: { $0.everywhere.contains(here) }) { return exact }
        if listen.contains(here) || smtpsListen.contains(here) { return nil }
        let everywhere = everywhere
        return sections.first { $0.everywhere.contains { $0.takes(here, among: everywhere) } }
    }

    /// The name of the listener that a connection came in at; nil: none.
    package func name(at here: ListenAddress) -> String? { section(at: here)?.name }

    /// What holds for a connection: the words of its section before those of the rest of the file.
    ///
    /// - Parameter here: our end of it; nil when that could not be told.
    package func applied(at here: ListenAddress?) -> ListenerSettings {
        guard let section = here.flatMap(section) else { return self }
        var settings = self
        if let isLenient = section.isLenient {
            settings.lenient = ClientChoice()
            settings.lenient.isForAll = isLenient
        }
        settings.messageBytes = section.messageBytes ?? messageBytes
        settings.recipients = section.recipients ?? recipients
        settings.errors = section.errors ?? errors
        settings.allowedSenderDomains = section.senderDomains ?? allowedSenderDomains
        return settings
    }
}

// MARK: - Reading

extension ListenerSettings {
    private static let word = "listener "
    package static let ownKeys = [
        "listen", "smtps_listen", "auth_required", "networks", "lenient", "hostname", "message_bytes", "recipients",
        "errors", "allowed_sender_domains", "srs",
    ]

    package static func owns(_ section: String) -> Bool { section.starts(withOctets: word) }

    package mutating func take(_ entry: INIDocument.Entry) throws(ValueError) -> Bool {
        guard let rest = entry.section.flatMap({ $0.rest(behind: Self.word) }) else { return false }
        let name = String(rest.trimmed)
        guard Whose.isName(name), !name.isSame(octets: Whose.api) else {
            throw ValueError(
                "\"\(ValueParsing.shown(name))\" is no name of a listener: small letters, digits, - and _, and not api"
            )
        }
        guard Self.ownKeys.contains(where: { $0.isSame(octets: entry.key) }) else {
            // More than a warning: it may be one that keeps somebody out.
            throw ValueError("is no key of a listener\(NearestName.hint(for: entry.key, among: Self.ownKeys))")
        }
        let known = sections.firstIndex { $0.name.isSame(octets: name) }
        if known == nil { sections.append(ListenerSection(name)) }
        var section = sections.remove(at: known ?? sections.count - 1)
        defer { sections.insert(section, at: known ?? sections.count) }
        try section.take(entry.key, entry.value, others: everywhere)
        return true
    }

    /// `example.org, example.net`.
    static func domains(_ text: String) throws(ValueError) -> Set<Domain> {
        var found: Set<Domain> = []
        for piece in ValueParsing.list(text) {
            guard let domain = Domain(piece) else {
                throw ValueError("\"\(ValueParsing.shown(piece))\" is not a domain such as example.org")
            }
            found.insert(domain)
        }
        return found
    }
}

extension ListenerSection {
    /// - Parameter others: the places of everything that came before.
    fileprivate mutating func take(_ key: String, _ value: String, others: [ListenAddress]) throws(ValueError) {
        switch key {
        case "listen": listen = try places(value, others)
        case "smtps_listen": smtpsListen = try places(value, others)
        case "srs": forwards = try ValueParsing.boolean(value)
        case "auth_required": requiresLogin = try ValueParsing.boolean(value)
        case "networks": networks = try Self.networks(value)
        case "lenient": isLenient = try ValueParsing.boolean(value)
        case "hostname":
            guard let domain = Domain(value), domain.literal == nil else {
                throw ValueError("\"\(ValueParsing.shown(value))\" is not a host name")
            }
            hostName = domain
        case "message_bytes": messageBytes = try ValueParsing.byteSize(value, 64...1 << 40)
        case "recipients": recipients = try ValueParsing.count(value, 1...1_000_000)
        case "errors": errors = try ValueParsing.count(value, 1...1_000_000)
        default: senderDomains = try ListenerSettings.domains(value)
        }
    }

    private func places(_ value: String, _ others: [ListenAddress]) throws(ValueError) -> [ListenAddress] {
        let found = try ListenerSettings.addresses(value)
        if let double = found.first(where: { others.contains($0) || everywhere.contains($0) }) {
            throw ValueError("\(double) is listened to already")
        }
        return found
    }

    private static func networks(_ text: String) throws(ValueError) -> [IPNetwork] {
        var found: [IPNetwork] = []
        for piece in ValueParsing.list(text) {
            guard let network = IPNetwork(piece) else {
                throw ValueError("\"\(ValueParsing.shown(piece))\" is not a network such as 192.0.2.0/24")
            }
            found.append(network)
        }
        return found
    }
}

extension Settings {
    /// What we call ourselves to a client.
    ///
    /// - Parameter here: our end of its connection.
    package func name(at here: ListenAddress?) -> Domain {
        here.flatMap(listener.section)?.hostName ?? me
    }

    /// Whose clients relay without a login.
    package func networks(at here: ListenAddress?) -> [IPNetwork] {
        guard let section = here.flatMap(listener.section) else { return relayNetworks }
        return section.requiresLogin ? [] : section.networks ?? relayNetworks
    }

    /// Whose certificates let them relay, by SHA-256.
    package func certificates(at here: ListenAddress?) -> Set<[UInt8]> {
        here.flatMap(listener.section)?.requiresLogin == true ? [] : relayCertificates
    }
}
