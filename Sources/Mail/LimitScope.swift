// LimitScope.swift — what a limit or a pause is about, as one word with one name. A value.

/// What is limited, or paused.
package enum LimitScope: Hashable, Sendable {
    /// All mail; only a pause is about it.
    case all
    /// Domains behind the same MX hosts, by the name of their section.
    case provider(String)
    /// The same, from one address of ours: `provider google from 192.0.2.1`.
    case providerFrom(String, String)
    /// One next hop, by its name as filters take it; `*` in a rule means each by itself.
    case lane(String)
    /// One next hop, from one address of ours: `lane example.org from 192.0.2.1`.
    case laneFrom(String, String)
    /// A section of `routes.ini`.
    case route(String)
    /// An address of ours that mail leaves from.
    case source(String)
    /// A domain of recipients.
    case domain(String)
    /// A domain of senders.
    case sender(String)
    /// A domain of senders, to one next hop: `sender example.net to example.org`.
    case senderTo(String, String)
    /// Who authenticated to hand the mail in.
    case user(String)
    /// What the header of a message says of its kind.
    case tag(String)
    /// What the warm-up of an address of ours counts for: a provider, `*` for all that are of none, or `all`; no section is
    /// called so.
    case warmup(String, String)

    /// The words of the kinds, as they stand in brackets.
    package static let words = ["all", "provider", "lane", "route", "source", "domain", "sender", "user", "tag"]

    /// The kind in a word.
    package var word: String {
        switch self {
        case .all: "all"
        case .provider, .providerFrom: "provider"
        case .lane, .laneFrom: "lane"
        case .route: "route"
        case .source: "source"
        case .domain: "domain"
        case .sender, .senderTo: "sender"
        case .user: "user"
        case .tag: "tag"
        case .warmup: "warmup"
        }
    }

    /// Which of its kind; empty for all mail.
    package var name: String {
        switch self {
        case .all: ""
        case .provider(let name), .lane(let name), .route(let name), .source(let name), .domain(let name),
            .sender(let name), .user(let name), .tag(let name):
            name
        case .laneFrom(let lane, let address), .providerFrom(let lane, let address), .warmup(let lane, let address):
            "\(lane)\(Self.from)\(address)"
        case .senderTo(let sender, let lane): "\(sender)\(Self.to)\(lane)"
        }
    }

    private static let from = " from "
    private static let to = " to "

    /// It is about some parcels of a lane, and not about the lane.
    package var isOfMail: Bool {
        switch self {
        case .domain, .sender, .senderTo, .user, .tag: true
        case .all, .provider, .providerFrom, .lane, .laneFrom, .route, .source, .warmup: false
        }
    }

    /// It is about an address of ours: mail of a pool may leave from another one meanwhile.
    package var isOfSource: Bool {
        switch self {
        case .source, .laneFrom, .providerFrom, .warmup: true
        case .all, .provider, .lane, .route, .domain, .sender, .senderTo, .user, .tag: false
        }
    }

    /// Reads a kind and a name, and brings the name into its normal form.
    ///
    /// - Returns: nil for an unknown kind, and for what cannot be a name of that kind.
    package init?(_ word: String, _ name: String) {
        let isAny = name.isSame(octets: "*")
        guard name.utf8.count <= 255, name.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { return nil }
        switch word {
        case "all":
            guard name.isEmpty || isAny else { return nil }
            self = .all
        case "provider":
            guard !name.isEmpty, !isAny else { return nil }
            if let (provider, address) = Self.halves(name, Self.from), let address = IPAddress(address) {
                self = .providerFrom(provider, address.description)
                return
            }
            self = .provider(name)
        case "lane":
            guard !name.isEmpty else { return nil }
            if let (lane, address) = Self.halves(name, Self.from), let address = IPAddress(address) {
                self = .laneFrom(Domain(lane)?.name ?? lane, address.description)
                return
            }
            // A domain has one form; the name of a section is what is written there.
            self = .lane(Domain(name)?.name ?? name)
        case "route":
            guard !name.isEmpty else { return nil }
            self = .route(Domain(name)?.name ?? name)
        case "source":
            guard isAny || IPAddress(name) != nil else { return nil }
            self = .source(isAny ? "*" : IPAddress(name)?.description ?? name)
        case "domain", "sender":
            if word.isSame(octets: "sender"), let (sender, lane) = Self.halves(name, Self.to) {
                guard let domain = Domain(sender) else { return nil }
                self = .senderTo(domain.name, Domain(lane)?.name ?? lane)
                return
            }
            guard isAny || Domain(name) != nil else { return nil }
            let domain = isAny ? "*" : Domain(name)?.name ?? name
            self = word.isSame(octets: "domain") ? .domain(domain) : .sender(domain)
        case "warmup":
            guard let (place, address) = Self.halves(name, Self.from), let address = IPAddress(address) else {
                return nil
            }
            self = .warmup(place, address.description)
        case "user":
            guard !name.isEmpty else { return nil }
            self = .user(name)
        case "tag":
            guard !name.isEmpty else { return nil }
            self = .tag(name)
        default: return nil
        }
    }

    /// What stands before and behind a word, where both are there; of several the last.
    private static func halves(_ text: String, _ word: String) -> (String, String)? {
        let (octets, word) = (Array(text.utf8), Array(word.utf8))
        var place = octets.count - word.count - 1
        while place > 0 {
            if octets[place..<place + word.count].elementsEqual(word) {
                return (
                    String(decoding: octets[..<place], as: UTF8.self),
                    String(decoding: octets[(place + word.count)...], as: UTF8.self)
                )
            }
            place -= 1
        }
        return nil
    }

    /// Reads `domain example.org`, `all`.
    package init?(_ text: String) {
        let words = text.utf8.split(maxSplits: 1) { $0 == 0x20 || $0 == 0x09 }.map { String(Substring($0)) }
        guard let word = words.first else { return nil }
        let name = words.count > 1 ? String(words[1].utf8.drop { $0 == 0x20 || $0 == 0x09 }) ?? "" : ""
        self.init(word, name)
    }
}

extension LimitScope: CustomStringConvertible {
    package var description: String { name.isEmpty ? word : "\(word) \(name)" }
}

extension LimitScope {
    /// What limits and pauses may be about of mail, and not of its lane or its recipients.
    package static func scopes(
        ofMailFrom sender: ReversePath,
        user: String?,
        tag: String?,
        in lane: Lane
    ) -> [LimitScope] {
        var scopes: [LimitScope] = []
        if case .address(let address) = sender {
            scopes += [.sender(address.domain.name), .senderTo(address.domain.name, lane.name)]
        }
        if let user { scopes.append(.user(user)) }
        if let tag { scopes.append(.tag(tag)) }
        return scopes
    }
}

extension Lane {
    /// What limits and pauses may be about of a lane itself, but for its provider, which its hosts tell.
    package var scopes: [LimitScope] {
        var scopes: [LimitScope] = [.lane(name)]
        switch hop {
        case .route(let name): scopes.append(.route(name))
        case .domain(let domain): scopes.append(.domain(domain.name))
        case .chosen, .preparation: break
        }
        for address in source?.addresses ?? [] {
            scopes += [.source(address.description), .laneFrom(name, address.description)]
        }
        return scopes
    }

    /// Every recipient of it has the same domain.
    package var hasOneDomain: Bool { if case .domain = hop { true } else { false } }
}
