// Itinerary.swift — which way the mail of one recipient would go now, and why: what `explain` prints.

package import Config
package import DNS
package import Hooks
package import Mail
package import Queue

/// A way, with everything that decides it.
package struct Itinerary: Sendable {
    /// Who decided the next hop.
    package enum HopCause: String, Hashable, Sendable {
        /// A section of `routes.ini`.
        case route
        /// A plugin that serves `get_mx`.
        case plugin = "get_mx"
        /// The MX records of the domain, or an address literal.
        case dns
    }

    /// One host of the way.
    package struct Host: Sendable {
        package let mx: MX
        /// Other hosts of the same priority: each session takes them in an order of chance.
        package let equals: Int
        /// In the order in which they are tried.
        package let addresses: [IPAddress]
        /// What found them; nil without any.
        package let addressesBecause: NameRule?
        /// None of them answered a short while ago: hosts behind it are tried first.
        package let isPutOff: Bool
        /// One for each address, or the one of a Unix socket.
        package var sessions: [Departure]
        /// As far as it can be told without an address; the first session where there is one.
        package let outline: Departure
        package let trust: HostTrust
        /// What is remembered of TLS with each peer, by ``Departure/peer``.
        package let troubles: [String: TLSTrouble]
        /// What was learnt of peers, by their names.
        package let learnt: [String: [PeerMemory.Known]]
        /// Why nobody gets there.
        package let problem: Failure?
        package let loginRefusal: Refusal?
        package let token: TokenState?
    }

    package let recipient: EmailAddress
    package let envelope: Envelope
    /// The section of `routes.ini` that decides, and those that do not.
    package let decision: Routes.Decision
    package let lane: Lane
    package let hopBecause: HopCause
    package let sourceBecause: SourceCause
    /// Plugins that may put the mail off before it is sent; nobody knows their answer before they are asked about it.
    package let delayingPlugins: [String]
    /// Plugins that were asked for the way.
    package let guidingPlugins: [String]
    /// What they said.
    package let guidance: GetMXAnswer
    package let isFromTable: Bool
    /// DNSSEC vouches for the names of the hosts.
    package let isSecure: Bool
    package let hosts: [Host]
    /// Why there is no way.
    package let problem: Failure?
    package let limits: OutboundSettings
    /// How the queue stands with the lane.
    package let laneReport: LaneReport?
    /// What was learnt of the lane.
    package let learnt: [PeerMemory.Known]
    /// When the lane may be tried again; nil: now.
    package let restsUntil: Timestamp?
    /// Limits and pauses that count for this mail.
    package let standing: Standing
    /// The pool that the source address is of, and who of it takes mail now; ``lane`` has the one that takes most.
    package let pool: PoolStanding?
    /// When this was asked.
    package let askedAt: Uptime
    /// The same by the wall clock.
    package let askedAtWall: Timestamp
}

extension Itinerary {
    /// Every address that the mail may leave from, with the name that EHLO says there, once each: of all sessions, and of all members
    /// of a pool.
    ///
    /// - Parameters:
    ///   - me: our own name, where nothing else is said.
    ///   - system: what the operating system would choose towards an address.
    func sources(_ me: Domain, system: (IPAddress) -> IPAddress?) -> [(address: IPAddress, name: Domain)] {
        var found: [(address: IPAddress, name: Domain)] = []
        func add(_ address: IPAddress, _ name: Domain) {
            if !found.contains(where: { $0.address == address }) { found.append((address, name)) }
        }
        for session in hosts.flatMap(\.sessions) {
            if let bind = session.bind {
                add(bind, session.helo)
            } else if let ip = session.ip {
                if let address = system(ip) { add(address, session.helo) }
            }
            guard session.bindBecause == .source else { continue }
            for member in pool?.members ?? [] {
                let name = session.heloBecause == .route ? session.helo : member.source.helo ?? me
                for address in member.source.addresses { add(address, name) }
            }
        }
        return found
    }
}
