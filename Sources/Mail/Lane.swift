// Lane.swift — the name of a next hop, for limits and rest.

/// A next hop that is limited and may rest, together with the address that we go there from.
///
/// Recipients of one lane share sessions; whatever the scheduler limits, it limits per lane. Mail that leaves from
/// different addresses, or that demands more protection than other mail, never shares a session.
package struct Lane: Hashable, Sendable, CustomStringConvertible {
    /// Where to.
    package enum Hop: Hashable, Sendable {
        /// A section of the route table, by its name as written there.
        case route(String)
        /// A domain that is asked of the DNS.
        case domain(Domain)
        /// Hosts that a `get_mx` hook answered with, in its order; equal answers share a lane.
        case chosen([MX])
        /// No next hop yet: plugins are asked first (`send_email`, `get_mx`).
        ///
        /// The name keeps turns fair: what the parcel was bound for before it had to wait.
        case preparation(String)
    }

    package let hop: Hop
    /// Where from, for hosts without a `bind` of their own; nil leaves it to the operating system.
    package let source: Source?
    /// The least protection that the mail itself demands (`force_tls`), whatever the hosts do; nil demands none, and `off` has it
    /// delivered even where a policy of the domain would keep it back.
    package let tls: TLSLevel?

    /// No policy of a domain is looked for, and none holds the mail back.
    package var waivesPolicies: Bool { tls == .off }

    package init(_ hop: Hop, from source: Source? = nil, tls: TLSLevel? = nil) {
        self.hop = hop
        self.source = source
        self.tls = tls
    }

    /// A section's lane, from an address that the operating system chooses.
    package static func route(_ match: String) -> Lane { Lane(.route(match)) }

    /// A domain's lane, from an address that the operating system chooses.
    package static func domain(_ domain: Domain) -> Lane { Lane(.domain(domain)) }

    package var description: String {
        let place =
            switch hop {
            case .route(let name): "[\(name)]"
            case .domain(let domain): domain.name
            case .chosen(let hosts): "get_mx(\(hosts.map(\.description).joined(separator: " ")))"
            case .preparation(let name): "preparation(\(name))"
            }
        let from = source.map { " from \($0)" } ?? ""
        return tls.map { "\(place)\(from) tls \($0)" } ?? "\(place)\(from)"
    }

    /// The name of the next hop, as filters take it: a section of `routes.ini`, or a domain.
    package var name: String {
        switch hop {
        case .route(let name): name
        case .domain(let domain): domain.name
        case .chosen, .preparation: description
        }
    }

    /// What metrics call the next hop: a section's name, or how it was found where a name could be anything.
    ///
    /// Addresses stay out of metrics, so the sections of senders and of recipients share a word.
    package var metricLabel: String {
        switch hop {
        case .route(let name):
            name.utf8.contains(UInt8(ascii: "@")) || name.starts(withOctets: "sender ") ? "address" : name
        case .domain: "dns"
        case .chosen, .preparation: "hook"
        }
    }

    /// Plugins are asked about the parcels of this lane, which never has sessions.
    package var isPreparation: Bool {
        if case .preparation = hop { true } else { false }
    }

    /// Where a parcel of this lane waits to be prepared for its next attempt.
    package var preparation: Lane { isPreparation ? self : Lane(.preparation(description)) }
}
