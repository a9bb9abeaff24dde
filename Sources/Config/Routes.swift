// Routes.swift — `routes.ini`, typed: who is the next hop for a recipient (Haraka's get_mx, as a table).

package import Mail

/// The route table.
///
/// Who decides first: the most specific section for the recipient (the address, the domain, the longest `*.suffix`), where
/// one that names the sender too comes before one that does not; then the most specific one for the sender; then `*`; then
/// the DNS. So mail between domains of one's own does not go to the provider of its sender.
package struct Routes: Hashable, Sendable {
    /// What a section does with its mail.
    package enum Way: Hashable, Sendable {
        /// At least one place to try.
        case hosts([MX])
        /// The MX of the recipient's domain, whatever less specific sections say.
        case direct
        /// It is not taken; 4xx or 5xx.
        case reject(Reply)
        /// It is taken, and goes nowhere; why.
        case discard(String)
    }

    /// One section: where its mail goes.
    package struct Entry: Hashable, Sendable {
        /// The section's name in normal form, which is also the lane's.
        package let match: String
        package let way: Way

        package init(match: String, way: Way) {
            self.match = match
            self.way = way
        }

        /// Where mail goes; empty when the DNS decides, or it goes nowhere.
        package var hosts: [MX] { if case .hosts(let hosts) = way { hosts } else { [] } }

        /// Mail goes to the MX of its domain, whatever less specific sections say.
        package var isDirect: Bool { way == .direct }

        fileprivate var isRejecting: Bool { if case .reject = way { true } else { false } }
    }

    private var senders = PatternTable<Entry>()
    private var recipients = PatternTable<Entry>()
    /// Sections for a recipient from a sender, by the recipient.
    private var pairs = PatternTable<PatternTable<Entry>>()
    /// Sections that reject.
    private var rejecting = 0
    /// Some section rejects, so that whoever takes mail in has to ask.
    package var rejects: Bool { rejecting > 0 }

    package init() {}

    /// Adds a section.
    ///
    /// A second one of the same name replaces the first; a name that is no pattern is not added.
    package mutating func add(_ route: Entry) {
        guard let name = RouteName(route.match) else { return }
        self[name] = route
    }

    /// Takes a section away.
    mutating func remove(named match: String) {
        guard let name = RouteName(match) else { return }
        self[name] = nil
    }

    /// The table is complete: copies that differ in a few sections share the rest from now on.
    mutating func settle() {
        senders.settle()
        recipients.settle()
        pairs.settle()
    }

    private subscript(name: RouteName) -> Entry? {
        get {
            switch name {
            case .recipient(let pattern): recipients[pattern]
            case .sender(let pattern): senders[pattern]
            case .pair(let sender, let recipient): pairs[recipient]?[sender]
            }
        }
        set {
            rejecting += (newValue?.isRejecting == true ? 1 : 0) - (self[name]?.isRejecting == true ? 1 : 0)
            switch name {
            case .recipient(let pattern): recipients[pattern] = newValue
            case .sender(let pattern): senders[pattern] = newValue
            case .pair(let sender, let recipient):
                var table = pairs[recipient] ?? PatternTable()
                table[sender] = newValue
                pairs[recipient] = table.isEmpty ? nil : table
            }
        }
    }

    /// The section for a recipient, or nil: ask the DNS.
    package func route(for recipient: EmailAddress, from sender: ReversePath) -> Entry? {
        var found: Entry?
        walk(recipient, sender, everything: false) { _, route in
            found = route
            return route == nil
        }
        return found
    }

    /// The section of that name, or nil when it is gone.
    package func route(named match: String) -> Entry? {
        RouteName(match).flatMap { self[$0] }
    }

    /// Every section by its name.
    package var all: [String: Entry] {
        var found: [String: Entry] = [:]
        for route in senders.values + recipients.values + pairs.values.flatMap(\.values) { found[route.match] = route }
        return found
    }

    /// The sections, by their names, where another table may have another one: all of them, unless both came from one.
    func sections(whereUnlike other: Routes) -> [String: Entry] {
        var found: [String: Entry] = [:]
        for route in senders.values(whereUnlike: other.senders) { found[route.match] = route }
        for route in recipients.values(whereUnlike: other.recipients) { found[route.match] = route }
        for route in pairs.values(whereUnlike: other.pairs).flatMap(\.values) { found[route.match] = route }
        return found
    }

    /// The normal form of a section's name.
    ///
    /// - Returns: nil for what may not stand in the brackets of `routes.ini`.
    package static func normalized(_ match: some StringProtocol) -> String? { RouteName(match)?.description }

    /// What a client hears who names a recipient whose mail is rejected; nil: it is taken.
    package func refusal(of recipient: EmailAddress, from sender: ReversePath) -> Reply? {
        guard rejects, case .reject(let reply)? = route(for: recipient, from: sender)?.way else { return nil }
        return reply
    }

    /// Looks for sections in the order in which they count: the one place that knows it.
    ///
    /// - Parameters:
    ///   - everything: also what no section can be there for.
    ///   - visit: gets a name and its section, if there is one; false ends the search.
    func walk(
        _ recipient: EmailAddress,
        _ sender: ReversePath,
        everything: Bool,
        _ visit: (RouteName, Entry?) -> Bool
    ) {
        func ask(_ pattern: AddressPattern) -> Bool {
            if !pairs.isEmpty, let table = pairs[pattern] {
                for from in AddressPattern.trail(sender, with: everything ? nil : table) {
                    guard visit(.pair(sender: from, recipient: pattern), table[from]) else { return false }
                }
            }
            return visit(.recipient(pattern), recipients[pattern])
        }
        if everything || recipients.hasAddresses || pairs.hasAddresses {
            guard ask(.address(AddressPattern.key(recipient))) else { return }
        }
        if everything || recipients.hasDomains || pairs.hasDomains {
            guard ask(.domain(recipient.domain.name)) else { return }
        }
        if everything || recipients.hasSuffixes || pairs.hasSuffixes {
            var domain = recipient.domain.parent
            while let suffix = domain {
                guard ask(.suffix(suffix.name)) else { return }
                domain = suffix.parent
            }
        }
        if !senders.isEmpty {
            for from in AddressPattern.trail(sender, with: everything ? nil : senders) {
                guard visit(.sender(from), senders[from]) else { return }
            }
        }
        _ = visit(.recipient(.any), recipients[.any])
    }
}

extension Routes {
    /// Whether `[*]` says of every host how it is with TLS, so that `enable_tls` decides nothing of what has no other section.
    var decidesTLS: Bool {
        guard let hosts = route(named: "*")?.hosts, !hosts.isEmpty else { return false }
        return hosts.allSatisfy { $0.tls != nil || $0.implicitTLS }
    }
}
