// OutboundIPs.swift — `outbound_ip.ini`, typed: which address mail leaves from, and the name that goes with it; pools of addresses.

package import Mail

/// The bindings of source addresses.
///
/// Asked for mail whose MX has no `bind` and which has no note. The first of these that fits: the section of `routes.ini`
/// that it goes by, the sender's address, the sender's domain (then `*.suffix`), the authenticated user, the client's network (the narrowest), the recipient's
/// address, domain or suffix, `*`.
package struct OutboundIPs: Hashable, Sendable {
    /// One section.
    package struct Binding: Hashable, Sendable {
        /// The section's name in normal form.
        package let match: String
        package let source: Source
    }

    /// What a section is for.
    enum Subject: Hashable {
        case sender(AddressPattern)
        case user(String)
        case client(IPNetwork)
        case recipient(AddressPattern)
        /// A section of `routes.ini`, in normal form.
        case route(String)
        case all

        /// Reads `sender X`, `user X`, `client X`, `recipient X`, `route X` or `*`.
        init?(_ name: String) {
            if name == "*" {
                self = .all
                return
            }
            let words = name.utf8.split(maxSplits: 1) { $0 == 0x20 || $0 == 0x09 }.map { Substring($0) }
            guard words.count == 2 else { return nil }
            let rest = words[1].trimmedStart
            switch words[0] {
            case "sender":
                guard let pattern = AddressPattern(rest), pattern != AddressPattern.any else { return nil }
                self = .sender(pattern)
            case "user": self = .user(String(rest))
            case "client":
                guard let network = IPNetwork(rest) else { return nil }
                self = .client(network)
            case "recipient":
                guard let pattern = AddressPattern(rest), pattern != AddressPattern.any, pattern != .null else {
                    return nil
                }
                self = .recipient(pattern)
            case "route":
                guard let match = Routes.normalized(rest) else { return nil }
                self = .route(match)
            default: return nil
            }
        }

        var description: String {
            switch self {
            case .sender(let pattern): "sender \(pattern)"
            case .user(let name): "user \(name)"
            case .client(let network): "client \(network)"
            case .recipient(let pattern): "recipient \(pattern)"
            case .route(let match): "route \(match)"
            case .all: "*"
            }
        }
    }

    private var senders = PatternTable<Binding>()
    private var users: [String: Binding] = [:]
    /// The narrowest first.
    private var clients: [Client] = []
    private var recipients = PatternTable<Binding>()
    private var routes: [String: Binding] = [:]
    /// By their names.
    package internal(set) var pools: [String: SourcePool] = [:]
    private var all: Binding?
    private var names: [IPAddress: Domain] = [:]

    private struct Client: Hashable, Sendable {
        let network: IPNetwork
        let binding: Binding
    }

    package init() {}

    package var isEmpty: Bool {
        all == nil && senders.isEmpty && users.isEmpty && clients.isEmpty && recipients.isEmpty && routes.isEmpty
    }

    /// Some section is about a section of `routes.ini`.
    package var asksRoutes: Bool { !routes.isEmpty }

    /// The binding for one recipient of a message; nil leaves it to the operating system.
    ///
    /// - Parameter route: the section of `routes.ini` that it goes by; nil: by none.
    package func binding(for recipient: EmailAddress, of envelope: Envelope, by route: String? = nil) -> Binding? {
        if isEmpty { return nil }
        if !routes.isEmpty, let route, let found = routes[route] { return found }
        if let found = senders.find(envelope.sender) { return found }
        if let user = envelope.user, let found = users[user] { return found }
        if let client = envelope.notes.client, let found = clients.first(where: { $0.network.contains(client) }) {
            return found.binding
        }
        return recipients.find(recipient) ?? all
    }

    /// Every binding, by its name.
    package var entries: [OutboundIPEntry] {
        let bindings =
            senders.values + users.values + clients.map(\.binding) + recipients.values + routes.values
            + (all.map { [$0] } ?? [])
        let bound = bindings.map { binding in
            OutboundIPEntry(
                match: binding.match,
                addresses: binding.source.addresses,
                helo: binding.source.helo,
                pool: binding.source.pool
            )
        }
        let pools = self.pools.values.map { OutboundIPEntry(match: "pool \($0.name)", members: $0.members.map(\.text)) }
        return (pools + bound).sorted { $0.match < $1.match }
    }

    /// The name that goes with an address.
    package func name(of address: IPAddress) -> Domain? { names[address] }

    mutating func add(_ binding: Binding, for subject: Subject) {
        switch subject {
        case .sender(let pattern): senders[pattern] = binding
        case .user(let name): users[name] = binding
        case .client(let network):
            clients.append(Client(network: network, binding: binding))
            clients.sort { $0.network.prefix > $1.network.prefix }
        case .recipient(let pattern): recipients[pattern] = binding
        case .route(let match): routes[match] = binding
        case .all: all = binding
        }
        learnName(of: binding.source)
    }

    mutating func add(_ pool: SourcePool) {
        pools[pool.name] = pool
        for member in pool.members { learnName(of: member.source) }
    }

    private mutating func learnName(of source: Source) {
        guard let helo = source.helo else { return }
        for address in source.addresses { names[address] = helo }
    }
}
