// Routes.swift — `routes.ini`, typed: who is the next hop for a recipient (Haraka's get_mx, as a table).

package import Mail

/// The route table.
///
/// Sections for senders are asked first; then those for recipients. Within each the most specific one wins: the address,
/// the domain, the longest `*.suffix`, `*`.
package struct Routes: Hashable, Sendable {
    /// One section: where its mail goes.
    package struct Route: Hashable, Sendable {
        /// The section's name in normal form, which is also the lane's.
        package let match: String
        /// Empty for a section that says `direct`: the DNS decides.
        package let hosts: [MX]

        package init(match: String, hosts: [MX]) {
            self.match = match
            self.hosts = hosts
        }

        /// Mail goes to the MX of its domain, whatever less specific sections say.
        package var isDirect: Bool { hosts.isEmpty }
    }

    /// One question to the table, for people who wonder.
    package struct Step: Hashable, Sendable {
        /// The section that was looked for.
        package let match: String
        package let isMatch: Bool
    }

    private static let sender = "sender "

    private var senders = PatternTable<Route>()
    private var recipients = PatternTable<Route>()

    package init() {}

    /// Adds a section.
    ///
    /// A second one of the same name replaces the first; a name that is no pattern is not added.
    package mutating func add(_ route: Route) {
        guard let (isSender, pattern) = Self.pattern(route.match) else { return }
        if isSender { senders[pattern] = route } else { recipients[pattern] = route }
    }

    /// The section for a recipient, or nil: ask the DNS.
    package func route(for recipient: EmailAddress, from sender: ReversePath) -> Route? {
        if !senders.isEmpty, let route = senders.find(sender) { return route }
        return recipients.find(recipient)
    }

    /// The section of that name, or nil when it is gone.
    package func route(named match: String) -> Route? {
        guard let (isSender, pattern) = Self.pattern(match) else { return nil }
        return isSender ? senders[pattern] : recipients[pattern]
    }

    /// Every section by its name.
    package var all: [String: Route] {
        var found: [String: Route] = [:]
        for route in senders.values + recipients.values { found[route.match] = route }
        return found
    }

    /// Every section that is looked for, in order, up to the one that is found.
    package func steps(for recipient: EmailAddress, from sender: ReversePath) -> [Step] {
        // `[sender *]` does not exist: it would be `[*]`.
        var steps =
            senders.isEmpty
            ? []
            : senders.trail(sender).filter { $0.pattern != .any }
                .map { Step(match: Self.sender + "\($0.pattern)", isMatch: $0.value != nil) }
        if steps.last?.isMatch == true { return steps }
        steps += recipients.trail(.address(recipient)).map { Step(match: "\($0.pattern)", isMatch: $0.value != nil) }
        return steps
    }

    /// The normal form of a section's name.
    ///
    /// - Returns: nil for what may not stand in the brackets of `routes.ini`.
    package static func normalized(_ match: some StringProtocol) -> String? {
        guard let (isSender, pattern) = pattern(match) else { return nil }
        return isSender ? "\(sender)\(pattern)" : "\(pattern)"
    }

    private static func pattern(_ match: some StringProtocol) -> (isSender: Bool, pattern: AddressPattern)? {
        guard match.utf8.starts(with: sender.utf8) else {
            guard let pattern = AddressPattern(match), pattern != .null else { return nil }
            return (false, pattern)
        }
        let rest = match.dropping(octets: sender.utf8.count).trimmedStart
        guard let pattern = AddressPattern(rest), pattern != AddressPattern.any else { return nil }
        return (true, pattern)
    }
}

extension Routes {
    /// Whether `[*]` says of every host how it is with TLS, so that `enable_tls` decides nothing of what has no other section.
    var decidesTLS: Bool {
        guard let hosts = route(named: "*")?.hosts, !hosts.isEmpty else { return false }
        return hosts.allSatisfy { $0.tls != nil || $0.implicitTLS }
    }
}
