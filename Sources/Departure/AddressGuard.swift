// AddressGuard.swift — where a URL of others may lead us: the host is looked up once, by the relay's own resolver, judged, and exactly
// what was judged is connected to.
//
// Guarantee: whoever may name a URL, or answers for its name in the DNS, gets no request of ours sent to an address that the
// world cannot see, unless an administrator says so; and without TLS nothing goes to one that it can.

package import DNS
package import HTTPClient
package import Mail

/// The judge of addresses.
package enum AddressGuard {
    /// Addresses that are tried at most.
    private static let most = 4

    /// Why a URL leads nowhere.
    package struct Refusal: Error, Hashable, Sendable {
        /// What was wrong.
        package enum Kind: Hashable, Sendable {
            /// The name leads nowhere.
            case unresolved
            /// It leads to where nobody may go.
            case address
        }

        package let kind: Kind
        /// A sentence for the log and the API.
        package let reason: String
    }

    /// The addresses to connect to, in order.
    package static func addresses(
        of url: WebURL,
        allowsPrivate: Bool,
        _ resolver: any DNS.Resolver
    ) async throws(Refusal) -> [IPAddress] {
        let found = try await look(url, resolver)
        let fit = found.filter { mayGo(to: $0, isSecure: url.isSecure, allowsPrivate: allowsPrivate) }
        guard !fit.isEmpty else {
            let shown = found.prefix(Self.most).map { "\($0)" }.joined(separator: ", ")
            let remedy =
                allowsPrivate
                ? "without TLS only private addresses are asked" : "such an address needs allow_private = true"
            throw Refusal(kind: .address, reason: "\(url.host) is \(shown); \(remedy)")
        }
        return Array(fit.prefix(Self.most))
    }

    /// The rule itself, pure.
    package static func mayGo(to address: IPAddress, isSecure: Bool, allowsPrivate: Bool) -> Bool {
        guard !address.isUnspecified else { return false }
        return address.isPublic ? isSecure : allowsPrivate
    }

    private static func look(_ url: WebURL, _ resolver: any DNS.Resolver) async throws(Refusal) -> [IPAddress] {
        if let address = IPAddress(url.host) ?? IPAddress(literal: url.host) { return [address] }
        guard let host = Domain(url.host) else {
            throw Refusal(kind: .unresolved, reason: "\(url.host) is no host name")
        }
        // What the name means everywhere, whatever a resolver says (RFC 6761 §6.3).
        if host.name.isSame(octets: "localhost") || host.name.ends(withOctets: ".localhost") {
            return ["127.0.0.1", "::1"].compactMap { IPAddress($0) }
        }
        do throws(DNSError) {
            return try await resolver.addresses(of: host, preference: .any).value
        } catch {
            throw Refusal(kind: .unresolved, reason: "\(host): \(error)")
        }
    }
}
