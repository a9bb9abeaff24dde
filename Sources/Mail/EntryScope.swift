// EntryScope.swift — whose mail is counted on its way in, and what a section of `limits.ini` says about it. Values.

/// Whose mail is counted as it comes in.
package enum EntryScope: Hashable, Sendable {
    /// Who logged in; a token of the API is `token:NAME`.
    case login(String)
    /// One client (``IPAddress/subscriber``), or a whole network where its section counts it together.
    case network(IPNetwork)
    /// The domain of the envelope sender.
    case sender(String)
    /// All that comes in at a section `[listener NAME]` of `smtp.ini`; `api` is mail by the API.
    case listener(String)
    /// An app password, `NAME USER`: not limited, but remembered.
    case app(String)

    /// The words of the kinds, as they stand behind `in`.
    package static let words = ["login", "network", "sender_domain", "listener"]

    /// The kind in a word.
    package var word: String {
        switch self {
        case .login: "login"
        case .network: "network"
        case .sender: "sender_domain"
        case .listener: "listener"
        case .app: "app_password"
        }
    }

    /// Which of its kind.
    package var name: String {
        switch self {
        case .login(let name), .sender(let name), .listener(let name), .app(let name): name
        case .network(let network): network.isOne ? "\(network.address)" : "\(network)"
        }
    }

    /// Reads a kind and a name, and brings the name into its normal form.
    package init?(_ word: String, _ name: String) {
        guard (1...255).contains(name.utf8.count), name.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            return nil
        }
        switch word {
        case "login": self = .login(name)
        case "app_password": self = .app(name)
        case "listener": self = .listener(name)
        case "network":
            guard let network = IPNetwork(name) else { return nil }
            self = .network(network)
        case "sender_domain":
            guard let domain = Domain(name) else { return nil }
            self = .sender(domain.name)
        default: return nil
        }
    }
}

extension EntryScope: CustomStringConvertible {
    package var description: String { "\(word) \(name)" }
}

extension IPNetwork {
    /// One address, and no network.
    fileprivate var isOne: Bool { prefix == (address.isV6 ? 128 : 32) }
}

/// What becomes of mail that is too much.
package enum EntryAction: Hashable, Sendable {
    /// It is taken, and held back until somebody has looked; as much again as the limit, then 450.
    case hold
    /// 450: it may come later.
    case later
    /// 550: it is not wanted.
    case refuse
    /// 450, and from now on nothing is taken of the login, for so many milliseconds or until it is released.
    case park(Int64?)

    /// How strict it is: of several the strictest counts.
    var rank: Int {
        switch self {
        case .hold: 0
        case .later: 1
        case .refuse: 2
        case .park: 3
        }
    }

    /// As the file has it.
    package var text: String {
        switch self {
        case .hold: "hold"
        case .later: "450"
        case .refuse: "550"
        case .park(nil): "park"
        case .park(let time?): "park \(time / 1000)s"
        }
    }
}

extension EntryAction: Comparable {
    package static func < (a: EntryAction, b: EntryAction) -> Bool { a.rank < b.rank }
}

/// What is counted.
package enum EntryMeasure: String, Hashable, Sendable, CaseIterable {
    case messages, recipients, bytes
    /// Different recipients.
    case distinct = "distinct_recipients"
    /// Of recipients that are done, those that were not delivered to; in per cent.
    case bounces = "bounce_ratio"
    /// What was accepted and is not finished.
    case waitingMessages = "waiting_messages"
    case waitingBytes = "waiting_bytes"

    /// Only a login has it: the queue knows who handed a message in, and nothing else.
    package var isOfLogins: Bool { self == .bounces || isOfWaiting }

    /// It has no window.
    package var isOfWaiting: Bool { self == .waitingMessages || self == .waitingBytes }
}

/// So many in a window.
package struct EntryLimit: Hashable, Sendable {
    /// Per cent, of a share.
    package let most: Int
    /// Milliseconds; 0: what there is now.
    package let window: Int64
    /// As the file has it: `200/h`.
    package let text: String
    /// Of a share: how many it must be of at least.
    package let least: Int

    package init(_ most: Int, window: Int64, text: String, least: Int = 1) {
        (self.most, self.window, self.text, self.least) = (most, window, text, least)
    }
}

/// What a section `[in …]` of `limits.ini` says.
package struct EntryTerms: Hashable, Sendable {
    /// A key that is not a measure.
    package enum Key: String, Hashable, Sendable, CaseIterable {
        case then, together
    }

    package var limits: [EntryMeasure: [EntryLimit]] = [:]
    package var then: EntryAction?
    /// A network is counted as one, and not each client by itself.
    package var isTogether = false
    /// Where each key is said: `limits.ini:12`.
    package var origins: [String: String] = [:]

    package init() {}

    /// Nothing is limited.
    package var isEmpty: Bool { limits.values.allSatisfy(\.isEmpty) }

    /// What it does not say is said by another.
    package func over(_ other: EntryTerms) -> EntryTerms {
        var terms = self
        for (key, origin) in other.origins where origins[key] == nil {
            terms.origins[key] = origin
            if let measure = EntryMeasure(rawValue: key) { terms.limits[measure] = other.limits[measure] }
            if key.isSame(octets: Key.then.rawValue) { terms.then = other.then }
        }
        return terms
    }
}

/// All sections `[in …]`, typed.
package struct EntryRules: Hashable, Sendable {
    private var named: [EntryScope: EntryTerms] = [:]
    /// Those of `*`, by the word of the kind.
    private var any: [String: EntryTerms] = [:]
    /// The longest prefix first.
    private var networks: [IPNetwork] = []

    package init() {}

    package var isEmpty: Bool { named.isEmpty && any.isEmpty }

    package mutating func add(_ terms: EntryTerms, for scope: EntryScope) {
        named[scope] = terms
        if case .network(let network) = scope {
            networks.append(network)
            networks.sort { $0.prefix > $1.prefix }
        }
    }

    /// Says something of everything of a kind.
    package mutating func add(_ terms: EntryTerms, forAll word: String) { any[word] = terms }

    /// What counts for a login, or a sender's domain; nil: no limit.
    package func terms(for scope: EntryScope) -> EntryTerms? {
        let terms = (named[scope] ?? EntryTerms()).over(any[scope.word] ?? EntryTerms())
        return terms.isEmpty ? nil : terms
    }

    /// What counts for a client, and what it is counted as; nil: no limit.
    ///
    /// The section of the smallest network that it lies in stands in for that of `*`.
    package func terms(of client: IPAddress) -> (scope: EntryScope, terms: EntryTerms)? {
        guard !networks.isEmpty || any["network"] != nil else { return nil }
        let subscriber = client.subscriber
        let own = EntryScope.network(
            IPNetwork(subscriber, prefix: subscriber.isV6 && !subscriber.isLoopback ? 64 : 128)
        )
        guard let network = networks.first(where: { $0.contains(client) }) else {
            return terms(for: own).map { (own, $0) }
        }
        guard let terms = terms(for: .network(network)) else { return nil }
        return (terms.isTogether ? .network(network) : own, terms)
    }
}
