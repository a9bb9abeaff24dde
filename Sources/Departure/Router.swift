// Router.swift — get_mx: from a lane to hosts, and from a host to addresses.
//
// The route table is asked first, then the DNS (RFC 5321 §5.1). Mail that would come back to this machine is a loop and is
// bounced (5.4.6): an address of ours found through the DNS, unless `local_mx_ok`, and one of our own listeners always.

package import Config
package import DNS
package import Loop
package import Mail
import Synchronization

/// Finds the way for a lane.
///
/// What the DNS said is kept while it is valid.
package final class Router: Sendable {
    private struct Kept {
        let route: Route
        let until: Uptime
    }

    /// Lanes whose route is kept; beyond it everything is forgotten and asked again.
    private static let mostKept = 10_000
    /// The longest that a route is kept.
    private static let keptAtMost = Duration.seconds(3600)

    private let resolver: InForce<any Resolver>
    private let settings: InForce<Settings>
    private let ownAddresses: @Sendable () -> Set<IPAddress>
    private let kept = Mutex<[Lane.Hop: Kept]>([:])

    /// - Parameters:
    ///   - resolver: the one in force.
    ///   - settings: those in force.
    ///   - ownAddresses: of this machine's interfaces.
    package init(
        resolver: InForce<any Resolver>,
        settings: InForce<Settings>,
        ownAddresses: (@Sendable () -> Set<IPAddress>)? = nil
    ) {
        self.resolver = resolver
        self.settings = settings
        self.ownAddresses = ownAddresses ?? localAddresses
    }

    /// The hosts of a lane, in the order to try them.
    ///
    /// - Throws: ``Failure`` at stage `route`.
    package func route(_ lane: Lane, at now: Uptime) async throws(Failure) -> Route {
        switch lane.hop {
        case .route(let name):
            guard let route = settings.ask({ $0.routes.route(named: name) }), !route.hosts.isEmpty else {
                throw .routing(451, EnhancedStatus(4, 4, 4), "route [\(name)] is not configured any more")
            }
            return Route(hosts: Self.ordered(route.hosts), isFromTable: true)
        case .chosen(let hosts): return Route(hosts: Self.ordered(hosts), isFromTable: true)
        case .preparation: throw .routing(451, EnhancedStatus(4, 4, 4), "plugins were not asked for the way yet")
        case .domain(let domain):
            if let known = kept.withLock({ $0[lane.hop] }), now < known.until { return known.route }
            if let ip = domain.literal {
                return Route(hosts: [MX(ip.description)], isFromTable: false)
            }
            return try await askDNS(domain, lane, now)
        }
    }

    private func askDNS(_ domain: Domain, _ lane: Lane, _ now: Uptime) async throws(Failure) -> Route {
        let answer: Answer<MXLookup.Hosts>
        do throws(DNSError) {
            var generator = SystemRandomNumberGenerator()
            answer = try await MXLookup(resolver.current).hosts(of: domain, using: &generator)
        } catch .noSuchName {
            throw .routing(550, EnhancedStatus(5, 1, 2), "\(domain) does not exist or takes no mail")
        } catch {
            throw .routing(451, EnhancedStatus(4, 4, 3), "\(domain): \(error)")
        }
        switch answer.value {
        case .refusesMail:
            throw .routing(556, EnhancedStatus(5, 1, 10), "\(domain) takes no mail (null MX)")
        case .hosts(let hosts):
            let route = Route(hosts: hosts, isFromTable: false, isSecure: answer.isSecure)
            let seconds = min(answer.timeToLive, Self.keptAtMost).components.seconds
            keep(route, for: lane, until: now.adding(milliseconds: seconds * 1000))
            return route
        }
    }

    /// Forgets what the DNS said: the settings of the resolver changed.
    package func forget() { kept.withLock { $0 = [:] } }

    private func keep(_ route: Route, for lane: Lane, until: Uptime) {
        kept.withLock { kept in
            if kept.count >= Self.mostKept { kept = [:] }
            kept[lane.hop] = Kept(route: route, until: until)
        }
    }

    /// Written order within a priority that was given; without priorities all are 0 and the written order stays.
    private static func ordered(_ hosts: [MX]) -> [MX] {
        hosts.enumerated().sorted { ($0.element.priority, $0.offset) < ($1.element.priority, $1.offset) }.map(\.element)
    }

    /// The addresses of one host of a route, in the order to try them.
    ///
    /// Only those of the family that the session is to come from.
    ///
    /// - Throws: ``Failure`` at stage `route`; with status 5.4.6 when the host is this machine.
    package func addresses(
        of mx: MX,
        in route: Route,
        from source: Source?
    ) async throws(Failure) -> Answer<[IPAddress]> {
        let settings = settings.current
        let answer = try await lookUp(mx, route, settings.outbound.addressPreference)
        var found = answer.value
        try refuseLoop(found, mx, route, settings)
        if let bind = mx.bind {
            found = found.filter { $0.isV6 == bind.isV6 }
        } else if let source {
            found = found.filter(source.reaches)
        }
        guard !found.isEmpty else {
            throw .routing(451, EnhancedStatus(4, 4, 4), "\(mx.exchange) has no address that can be reached from here")
        }
        let reachable = found
        return answer.map { _ in reachable }
    }

    private func lookUp(
        _ mx: MX,
        _ route: Route,
        _ preference: AddressPreference
    ) async throws(Failure) -> Answer<[IPAddress]> {
        if let ip = IPAddress(mx.exchange) { return Answer([ip], timeToLive: Answer<[IPAddress]>.longest) }
        guard let host = Domain(mx.exchange) else {
            throw .routing(550, EnhancedStatus(5, 1, 2), "an MX that is no host name")
        }
        do throws(DNSError) {
            return try await resolver.current.addresses(of: host, preference: preference)
        } catch .noSuchName {
            // A name that an administrator wrote and the DNS does not know is no reason to bounce mail.
            if route.isFromTable { throw .routing(451, EnhancedStatus(4, 4, 4), "\(host) has no address") }
            throw .routing(550, EnhancedStatus(5, 4, 4), "\(host) has no address")
        } catch {
            throw .routing(451, EnhancedStatus(4, 4, 3), "\(host): \(error)")
        }
    }

    private func refuseLoop(
        _ addresses: [IPAddress],
        _ mx: MX,
        _ route: Route,
        _ settings: Settings
    ) throws(Failure) {
        let own = ownAddresses()
        let isOurs = { (ip: IPAddress) in ip.isLoopback || ip.isUnspecified || own.contains(ip) }
        for ip in addresses {
            if Self.isListener(ip, mx.port, settings.listener.listen, isOurs) {
                throw .routing(554, EnhancedStatus(5, 4, 6), "mail would loop: \(mx) is this relay itself")
            }
            if !route.isFromTable, !settings.outbound.localMXOK, isOurs(ip) {
                throw .routing(554, EnhancedStatus(5, 4, 6), "mail would loop: \(mx.exchange) is \(ip), this machine")
            }
        }
    }

    /// Whether connecting there reaches one of our own listeners.
    private static func isListener(
        _ ip: IPAddress,
        _ port: UInt16,
        _ listeners: [ListenAddress],
        _ isOurs: (IPAddress) -> Bool
    ) -> Bool {
        listeners.contains { listener in
            guard listener.port == port else { return false }
            if listener.ip == ip { return true }
            // A listener on every address, or a destination that means "here", whichever of our addresses it is.
            return (listener.ip.isUnspecified && isOurs(ip)) || (ip.isUnspecified && isOurs(listener.ip))
        }
    }
}

extension Failure {
    /// A failure to find the way.
    package static func routing(_ code: UInt16, _ status: EnhancedStatus, _ text: String) -> Failure {
        Failure(.destination, at: .route, Reply(code, status, text))
    }

    /// We found ourselves among the hosts: what is behind would only come back to us.
    ///
    /// - Source: RFC 5321 §5.1
    package var isLoop: Bool { stage == .route && reply.status == EnhancedStatus(5, 4, 6) }
}
