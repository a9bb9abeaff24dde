// MXLookup.swift — which hosts take a domain's mail. Pure over a Resolver.

package import Mail

/// Asks for a domain's hosts, in the order to try them.
///
/// - Source: RFC 5321 §5.1, RFC 7505
package struct MXLookup: Sendable {
    /// What a domain has to say about its mail.
    package enum Hosts: Hashable, Sendable {
        /// At least one, at most ``most``.
        case hosts([MX])
        /// A null MX: the domain takes no mail, and says so.
        case refusesMail
    }

    /// More hosts than this are not used, the worst ones first: who has so many means to keep us busy.
    package static let most = 100

    private let resolver: any Resolver

    package init(_ resolver: any Resolver) { self.resolver = resolver }

    /// The hosts of a domain: its MX records, or the domain itself when it has none and an address.
    ///
    /// Lower preferences come first and equal ones in random order. A domain that is an address literal is its own host.
    /// - Throws: ``DNSError/noSuchName`` for a domain that does not exist or has neither MX nor address (permanent);
    ///   everything else is temporary, also MX records of which none names a host.
    package func hosts(
        of domain: Domain,
        using generator: inout some RandomNumberGenerator
    ) async throws(DNSError) -> Answer<Hosts> {
        if let address = domain.literal {
            return Answer(.hosts([MX(address.description)]), timeToLive: Answer<Hosts>.longest)
        }
        let answer = try await resolver.mailExchangers(of: domain)
        let records = answer.value
        guard !records.isEmpty else { return try await implicitHost(of: domain, answer) }
        let named = records.filter { $0.host != nil }
        if named.isEmpty { return answer.map { _ in .refusesMail } }
        let hosts = Self.order(named, using: &generator)
        guard !hosts.isEmpty else { throw .serverFailure("no MX of \(domain) names a host") }
        return answer.map { _ in .hosts(hosts) }
    }

    private func implicitHost(of domain: Domain, _ none: Answer<[MXRecord]>) async throws(DNSError) -> Answer<Hosts> {
        let addresses = try await resolver.addresses(of: domain)
        guard !addresses.value.isEmpty else { throw .noSuchName }
        return Answer(
            .hosts([MX(domain.name)]),
            isSecure: none.isSecure && addresses.isSecure,
            timeToLive: min(none.timeToLive, addresses.timeToLive)
        )
    }

    /// By preference, equal ones shuffled, each host once, addresses posing as names left out (RFC 5321 §5.1 wants a
    /// name; connecting to what a record claims is an address would skip every check that hangs on the name).
    private static func order(_ records: [MXRecord], using generator: inout some RandomNumberGenerator) -> [MX] {
        let hosts = records.compactMap { record -> MX? in
            guard let host = record.host, host.literal == nil, IPAddress(host.name) == nil else { return nil }
            return MX(host.name, priority: record.preference)
        }
        var seen: Set<String> = []
        return Array(
            MX.shared(hosts, using: &generator).filter { seen.insert($0.exchange).inserted }.prefix(most)
        )
    }
}
