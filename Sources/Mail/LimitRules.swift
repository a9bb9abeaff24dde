// LimitRules.swift — what may go where and how fast: the rules, and which of them count for a scope. Pure.
//
// A section with a name stands in for that of `*`, key by key. Rules of different kinds all count: the smallest applies.

/// What a section of `limits.ini` says.
package struct LimitTerms: Hashable, Sendable {
    /// A key of the file.
    package enum Key: String, Hashable, Sendable, CaseIterable {
        case connections
        case perConnection = "per_connection"
        case newConnections = "new_connections"
        case rate
        case daily
        case recipients = "recipients_per_transaction"
        /// Of an address of ours.
        case warmup
        /// What ``warmup`` is counted for.
        case per
        /// Of an address of ours: what becomes of mail of a pool when its day is spent.
        case overflow
        /// A reaction leaves an address of ours alone; no key of the file.
        case otherSource = "other_source"

        /// Those that the file has.
        package static let written: [Key] = allCases.filter { $0 != .otherSource }

        /// They say how another one is meant, and limit nothing.
        package var isManner: Bool { self == .per || self == .overflow }
    }

    /// What becomes of mail of a pool when the day of one of its addresses is spent.
    package enum Overflow: String, Hashable, Sendable, CaseIterable {
        /// It leaves from another address of the pool.
        case pool
        /// It waits for the next day.
        case wait
    }

    /// Sessions at once.
    package var connections: Int?
    /// Messages of one session.
    package var perConnection: Int?
    package var newConnections: Rate?
    /// Messages.
    package var rate: Rate?
    /// Messages of any 24 hours.
    package var daily: Int?
    /// Recipients of one transaction.
    package var recipients: Int?
    /// Of an address of ours: how it begins.
    package var warmup: Warmup?
    /// What was said of it before it was known.
    package var per: Warmup.Per?
    /// nil: as ``Overflow/pool``.
    package var overflow: Overflow?
    /// Until when a reaction leaves an address of ours alone.
    package var avoidedUntil: Timestamp?
    /// Where each key is said: `limits.ini:12`.
    package var origins: [Key: String] = [:]
    /// Keys of which it says that there is no limit.
    package var lifted: Set<Key> = []

    package init() {}

    /// Nothing is limited.
    package var isEmpty: Bool {
        connections == nil && perConnection == nil && newConnections == nil && rate == nil && daily == nil
            && recipients == nil && warmup == nil && avoidedUntil == nil
    }

    /// A key's value as the file has it; nil: no limit.
    package func text(_ key: Key) -> String? {
        switch key {
        case .connections: connections.map(String.init)
        case .perConnection: perConnection.map(String.init)
        case .newConnections: newConnections?.description
        case .rate: rate?.description
        case .daily: daily.map(String.init)
        case .recipients: recipients.map(String.init)
        case .warmup: warmup?.text
        case .per: warmup?.per.rawValue
        case .overflow: overflow?.rawValue
        case .otherSource: avoidedUntil?.rfc3339
        }
    }

    /// What it does not say is said by another.
    package func over(_ other: LimitTerms) -> LimitTerms {
        var terms = self
        for key in Key.allCases where origins[key] == nil {
            guard let origin = other.origins[key], !other.lifted.contains(key) else { continue }
            terms.origins[key] = origin
            switch key {
            case .connections: terms.connections = other.connections
            case .perConnection: terms.perConnection = other.perConnection
            case .newConnections: terms.newConnections = other.newConnections
            case .rate: terms.rate = other.rate
            case .daily: terms.daily = other.daily
            case .recipients: terms.recipients = other.recipients
            case .warmup: terms.warmup = other.warmup
            // It goes with the warm-up that it was said of.
            case .per: break
            case .overflow: terms.overflow = other.overflow
            case .otherSource: terms.avoidedUntil = other.avoidedUntil
            }
        }
        return terms
    }
}

/// `limits.ini`, typed.
package struct LimitRules: Hashable, Sendable {
    /// Domains whose mail goes to the same hosts.
    package struct Provider: Hashable, Sendable {
        package let name: String
        /// `mx.example.org`, or `*.example.org` for everything below.
        package let hosts: [String]

        package init(name: String, hosts: [String]) {
            self.name = name
            self.hosts = hosts
        }

        /// Whether a host in normal form is one of theirs.
        func owns(_ host: String) -> Bool {
            hosts.contains { pattern in
                guard let below = pattern.rest(behind: "*") else { return pattern.isSame(octets: host) }
                return host.utf8.count > below.utf8.count && host.ends(withOctets: below)
            }
        }
    }

    package private(set) var rules: [LimitScope: LimitTerms] = [:]
    /// In the order of the file.
    package private(set) var providers: [Provider] = []
    /// In the order of the file.
    package private(set) var reactions: [Reaction] = []
    /// What mail that comes in may be.
    package var entries = EntryRules()
    /// Kinds of mail scopes that some rule is about.
    private var hasRulesOfMail = false

    package init() {}

    package var isEmpty: Bool { rules.isEmpty && providers.isEmpty && !measures }

    /// Some reaction asks how fast mail went.
    package private(set) var measures = false

    /// The reaction of that name.
    package func reaction(named name: String) -> Reaction? { reactions.first { $0.name.isSame(octets: name) } }

    /// Some rule is about the domain of a recipient, a sender or a user.
    package var looksAtMail: Bool { hasRulesOfMail }

    package mutating func add(_ terms: LimitTerms, for scope: LimitScope) {
        rules[scope] = terms
        if scope.isOfMail { hasRulesOfMail = true }
    }

    package mutating func add(_ reaction: Reaction) {
        reactions.append(reaction)
        if reaction.deed.hasSteps { measures = true }
    }

    package mutating func add(_ provider: Provider) { providers.append(provider) }

    /// What counts for a scope; nil: no limit.
    package func terms(for scope: LimitScope) -> LimitTerms? {
        guard !rules.isEmpty else { return nil }
        let named = rules[scope] ?? LimitTerms()
        guard let any = scope.any.flatMap({ rules[$0] }) else { return named.isEmpty ? nil : named }
        let terms = named.over(any)
        return terms.isEmpty ? nil : terms
    }

    /// The provider behind some hosts: of the first that anybody owns.
    package func provider(of hosts: [String]) -> String? {
        guard !providers.isEmpty else { return nil }
        for host in hosts { if let found = providers.first(where: { $0.owns(host) }) { return found.name } }
        return nil
    }
}

extension LimitScope {
    /// The rule for everything of the kind.
    fileprivate var any: LimitScope? {
        switch self {
        case .all, .provider, .providerFrom, .laneFrom, .senderTo, .warmup: nil
        case .lane: .lane("*")
        case .route: .route("*")
        case .source: .source("*")
        case .domain: .domain("*")
        case .sender: .sender("*")
        case .user: .user("*")
        case .tag: .tag("*")
        }
    }
}
