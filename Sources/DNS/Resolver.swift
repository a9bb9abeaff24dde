// Resolver.swift — the questions a mailer asks of the DNS.

package import Mail

/// What the DNS said, for how long, and whether DNSSEC vouches for it.
package struct Answer<Value: Sendable>: Sendable {
    package let value: Value
    /// Validated by DNSSEC.
    package let isSecure: Bool
    /// How long the answer may be kept; between ``shortest`` and ``longest``.
    package let timeToLive: Duration
    /// The name at the end of the CNAMEs, when another one was asked for.
    package let canonicalName: Domain?
    /// What found it.
    package private(set) var rule: NameRule

    /// A record that says 0 is still kept for a moment, so that a busy lane does not ask for each session.
    package static var shortest: Duration { .seconds(5) }
    /// A record that says years is asked for again after a day.
    package static var longest: Duration { .seconds(86_400) }

    /// - Parameter timeToLive: as in the record; brought into bounds here.
    package init(
        _ value: Value,
        isSecure: Bool = false,
        timeToLive: Duration,
        canonicalName: Domain? = nil,
        rule: NameRule = .dns
    ) {
        self.value = value
        self.rule = rule
        self.isSecure = isSecure
        self.canonicalName = canonicalName
        self.timeToLive = min(max(timeToLive, Self.shortest), Self.longest)
    }

    /// The same answer with another value.
    package func map<Other>(_ transform: (Value) -> Other) -> Answer<Other> {
        Answer<Other>(
            transform(value),
            isSecure: isSecure,
            timeToLive: timeToLive,
            canonicalName: canonicalName,
            rule: rule
        )
    }

    /// The same answer, found by another rule.
    func found(by rule: NameRule) -> Answer {
        var answer = self
        answer.rule = rule
        return answer
    }
}

/// Why there is no answer.
///
/// Only ``noSuchName`` is permanent.
package enum DNSError: Error, Hashable, Sendable, CustomStringConvertible {
    /// NXDOMAIN, or a name without any address where one is needed.
    case noSuchName
    case timedOut
    /// DNSSEC says that the answer was tampered with.
    case bogus(String)
    /// SERVFAIL, REFUSED, a CNAME loop, or no resolver to ask.
    case serverFailure(String)

    package var description: String {
        switch self {
        case .noSuchName: "no such name"
        case .timedOut: "no answer in time"
        case .bogus(let reason): "answer fails DNSSEC: \(reason)"
        case .serverFailure(let reason): "lookup failed: \(reason)"
        }
    }
}

/// An MX record.
///
/// - Source: RFC 1035 §3.3.9
package struct MXRecord: Hashable, Sendable {
    /// Lower is tried first.
    package let preference: UInt16
    /// nil for the root, `.`, which alone means that the domain takes no mail (RFC 7505).
    package let host: Domain?

    package init(preference: UInt16, host: Domain?) {
        self.preference = preference
        self.host = host
    }
}

/// Somebody who answers.
///
/// CNAMEs have been followed.
package protocol Resolver: Sendable {
    /// The MX records of a domain that exists; empty when it has none.
    ///
    /// Records with names that are no host names are left out.
    /// - Throws: also when there are records and not one is left: that is not a domain without MX.
    func mailExchangers(of domain: Domain) async throws(DNSError) -> Answer<[MXRecord]>

    /// The addresses of a host that exists, IPv4 first; empty when it has none.
    func addresses(of host: Domain) async throws(DNSError) -> Answer<[IPAddress]>

    /// The TLSA records of a service over TCP, `_25._tcp.mx.example.net`; empty when the name exists without one.
    func tlsa(of host: Domain, port: UInt16) async throws(DNSError) -> Answer<[TLSARecord]>

    /// The TXT records of a name that exists, each with its strings joined; empty when it has none.
    func text(of name: Domain) async throws(DNSError) -> Answer<[String]>

    /// What a name is an alias of (CNAME), one step; nil when it is none.
    func alias(of name: Domain) async throws(DNSError) -> Answer<Domain?>

    /// Whether DNSSEC vouches for the SOA record of a zone, which every zone has.
    ///
    /// - Throws: ``DNSError/bogus(_:)`` where signatures get lost on the way here, and whatever else went wrong.
    func isSigned(_ zone: String) async throws(DNSError) -> Bool

    /// Everything is asked anew from now on, what failed included.
    func forget()
}

extension Resolver {
    package func forget() {}

    /// The addresses to connect to, in the order to try them.
    ///
    /// An address literal stands for itself.
    /// - Throws: ``DNSError/noSuchName`` also when the host exists and has no address.
    package func addresses(
        of host: Domain,
        preference: AddressPreference
    ) async throws(DNSError) -> Answer<[IPAddress]> {
        if let address = host.literal ?? IPAddress(host.name) {
            return Answer([address], timeToLive: Answer<[IPAddress]>.longest, rule: .literal)
        }
        let answer = try await addresses(of: host)
        guard !answer.value.isEmpty else { throw .noSuchName }
        let mayMatter = preference != .v4 && preference != .v6 && answer.value.contains(where: \.isV6)
        let hasRoute = mayMatter && AddressOrder.hasIPv6Route()
        return answer.map { AddressOrder.arrange($0, preference: preference, hasIPv6Route: hasRoute) }
    }
}
