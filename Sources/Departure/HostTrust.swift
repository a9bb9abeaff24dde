// HostTrust.swift — what is known of one host, and what a session with it must therefore be like.

package import Mail
package import OpenSSL
package import SMTP

/// The facts about a host of a route, with the evidence that goes with them.
package struct HostTrust: Hashable, Sendable {
    package var facts: TLSFacts
    /// TLSA records that can be used.
    package var tlsa: [PeerCheck.TLSA] = []
    /// The name they stand under.
    package var base: Domain?
    /// The domain that the host stands for, when that is as genuine as the records are.
    package var domain: Domain?
    /// Who vouches that nobody put another host in its place (RFC 8689 §4.2.1); nil: nobody.
    package var voucher: Voucher?
    /// The DNS was asked for TLSA records.
    package var askedForRecords = false
    /// An MTA-STS policy of the domain was looked for.
    package var askedForPolicy = false
    /// An MTA-STS policy of mode `testing` names the host: what `enforce` would have done is tried first.
    package var isUnderTest = false

    /// The MTA-STS policy of the domain, whatever its mode.
    package var policy: STSPolicy?

    /// What the domain had said, as reports tell it.
    package var reportPolicy: TLSReportPolicy {
        switch facts.dane {
        case .usable, .unusable: return TLSReportPolicy(.tlsa, lines: tlsa.map(\.zoneText))
        case .failed: return TLSReportPolicy(.tlsa)
        case .absent: break
        }
        guard let policy, policy.mode != .none else { return TLSReportPolicy(.none) }
        return TLSReportPolicy(.sts, lines: policy.lines, hosts: policy.hosts)
    }

    /// What makes a host's name genuine.
    package enum Voucher: String, Hashable, Sendable {
        /// An administrator wrote it.
        case route
        case dnssec
        /// An MTA-STS policy in force names it.
        case policy = "mta_sts"
    }

    package init(facts: TLSFacts) { self.facts = facts }

    /// What the host's certificate must be.
    package func check(at level: TLSLevel, of mx: MX) -> PeerCheck {
        switch level {
        case .off, .may, .require: return .none
        case .verify: return .names([mx.exchange])
        case .dane:
            // RFC 7672 §3.2.2: the base domain comes by itself, then the host as it was named, then the next-hop domain.
            let base = base?.name ?? mx.exchange
            let names = [mx.exchange, domain?.name].compactMap(\.self).filter { $0 != base }
            return .dane(tlsa, base: base, names: names)
        }
    }

    /// What the machine does about TLS at a level.
    package static func need(at level: TLSLevel, _ isImplicit: Bool) -> ClientMachine.TLSNeed {
        switch level {
        case .off: .never
        case .may: .ifOffered
        case .require, .verify, .dane: isImplicit ? .implicit : .required
        }
    }
}
