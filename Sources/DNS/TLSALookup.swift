// TLSALookup.swift — the TLSA records that hold for a host, found as RFC 7672 §2 has it. Pure over a Resolver.
//
// Guarantees: a host whose addresses DNSSEC vouches for is never treated as one without TLSA because a lookup failed:
// absence must be proved. Where DNSSEC vouches for nothing, no TLSA question is asked: broken servers would answer it badly.

package import Mail

/// Asks for a host's TLSA records.
package struct TLSALookup: Sendable {
    /// What there is.
    package enum Finding: Hashable, Sendable {
        /// None that DNSSEC vouches for.
        case absent
        /// At least one, at most ``most``, and the name they stand under: the TLSA base domain.
        case records([TLSARecord], base: Domain)
        /// Nobody can tell: the host must not be used now (RFC 7672 §2.1.2).
        case failed(DNSError)
    }

    /// More records than this are not used.
    package static let most = 32

    private let resolver: any Resolver

    package init(_ resolver: any Resolver) { self.resolver = resolver }

    /// The records for a host that is connected to.
    ///
    /// - Parameters:
    ///   - host: as the MX record or the route names it.
    ///   - port: the one that is connected to.
    ///   - addresses: what was found for the host.
    package func records(of host: Domain, port: UInt16, addresses: Answer<[IPAddress]>) async -> Finding {
        guard host.literal == nil, IPAddress(host.name) == nil else { return .absent }
        guard addresses.isSecure else { return await recordsOfAlias(host, port, addresses) }
        if let canonical = addresses.canonicalName, canonical != host {
            let finding = await records(under: canonical, port)
            guard finding == .absent else { return finding }
        }
        return await records(under: host, port)
    }

    /// RFC 7672 §2.2.2: the addresses are not secure, but the alias may be, and then the host's own name has a say.
    private func recordsOfAlias(_ host: Domain, _ port: UInt16, _ addresses: Answer<[IPAddress]>) async -> Finding {
        guard let canonical = addresses.canonicalName, canonical != host else { return .absent }
        do throws(DNSError) {
            guard try await resolver.alias(of: host).isSecure else { return .absent }
        } catch .bogus(let reason) {
            return .failed(.bogus(reason))
        } catch {
            return .absent
        }
        return await records(under: host, port)
    }

    private func records(under base: Domain, _ port: UInt16) async -> Finding {
        do throws(DNSError) {
            let answer = try await resolver.tlsa(of: base, port: port)
            guard answer.isSecure, !answer.value.isEmpty else { return .absent }
            return .records(Array(answer.value.prefix(Self.most)), base: base)
        } catch .noSuchName {
            return .absent
        } catch {
            return .failed(error)
        }
    }
}
