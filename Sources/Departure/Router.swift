// Router.swift — get_mx: from a lane to hosts, and from a host to addresses.
//
// The route table is asked first, then the DNS (RFC 5321 §5.1). Hosts of equal priority are shuffled each time, so that
// sessions share the load. Mail that would come back to this machine is a loop and is bounced (5.4.6), see `LoopGuard`.

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

    /// Lanes whose route is kept, at least; others are asked for again.
    private static let mostKept = 10_000
    /// The longest that a route is kept.
    private static let keptAtMost = Duration.seconds(3600)
    /// How long the addresses of a host's equals are waited for.
    private static let patience = Duration.seconds(2)
    /// Milliseconds that equal hosts are known to be none of us.
    private static let strangersFor: Int64 = 60_000

    private let resolver: InForce<any Resolver>
    private let settings: InForce<Settings>
    private let ownAddresses: @Sendable () -> Set<IPAddress>
    private let adopted: [ListenAddress]?
    private let names = RouteNames()
    private let kept = Mutex(Bounded<Lane.Hop, Kept>(atLeast: mostKept))
    /// Names of equal hosts among which we are not, and until when that is known.
    private let strangers = Mutex(Bounded<[String], Uptime>(atLeast: mostKept))

    /// - Parameters:
    ///   - resolver: the one in force.
    ///   - settings: those in force.
    ///   - adopted: where we listen when the sockets were there before us; nil: where the settings say.
    ///   - ownAddresses: of this machine's interfaces.
    package init(
        resolver: InForce<any Resolver>,
        settings: InForce<Settings>,
        adopted: [ListenAddress]? = nil,
        ownAddresses: (@Sendable () -> Set<IPAddress>)? = nil
    ) {
        self.resolver = resolver
        self.settings = settings
        self.adopted = adopted
        let interfaces = InterfaceAddresses()
        self.ownAddresses = ownAddresses ?? { interfaces.addresses(at: .now()) }
    }

    /// The hosts of a lane, in the order in which one session tries them.
    ///
    /// - Throws: ``Failure`` at stage `route`.
    package func route(_ lane: Lane, at now: Uptime) async throws(Failure) -> Route {
        switch lane.hop {
        case .route(let name):
            switch settings.ask({ $0.routes.route(named: name)?.way }) {
            case .hosts(let hosts)?: return Route(hosts: hosts, isFromTable: true).shared()
            case .reject(let reply)?: throw Failure(.recipient, at: .route, reply)
            // Nobody asks for its hosts, unless it became one this moment.
            case .discard?: throw .routing(451, EnhancedStatus(4, 4, 4), "route [\(name)] discards mail now")
            case .direct?, nil:
                throw .routing(451, EnhancedStatus(4, 4, 4), "route [\(name)] is not configured any more")
            }
        case .chosen(let hosts): return Route(hosts: hosts, isFromTable: true).shared()
        case .preparation: throw .routing(451, EnhancedStatus(4, 4, 4), "plugins were not asked for the way yet")
        case .domain(let domain):
            if let known = kept.withLock({ $0[lane.hop] }), now < known.until { return known.route.shared() }
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

    /// Whether the DNS has the record of a key; asked anew.
    package func publication(of record: DKIMRecord) async -> DKIMPublication {
        await DKIMPublication.look(at: record, resolver.current)
    }

    /// What the large providers would find in mail of a domain.
    package func bulkRules(of sender: Domain, _ settings: Settings, at now: Timestamp) async -> [Finding] {
        await BulkRules.all(of: sender, settings, resolver.current, at: now)
    }

    /// Forgets what the DNS said: somebody changed the resolver, or wants to have it asked anew.
    package func forget() {
        kept.withLock { $0.removeAll() }
        strangers.withLock { $0.removeAll() }
        resolver.current.forget()
    }

    private func keep(_ route: Route, for lane: Lane, until: Uptime) {
        kept.withLock { $0[lane.hop] = Kept(route: route, until: until) }
    }

    /// The addresses of one host of a route, in the order to try them.
    ///
    /// Only those of the family that the session is to come from.
    ///
    /// - Throws: ``Failure`` at stage `route`; with status 5.4.6 when the host is this machine, or as good as one that is.
    package func addresses(
        of mx: MX,
        in route: Route,
        from source: Source?
    ) async throws(Failure) -> Answer<[IPAddress]> {
        let settings = settings.current
        let answer = try await lookUp(mx, route, settings)
        var found = answer.value
        let loops = loops(route, settings)
        try loops.check(found, of: mx)
        try await checkEquals(of: mx, in: route, loops)
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
        _ settings: Settings
    ) async throws(Failure) -> Answer<[IPAddress]> {
        if let ip = IPAddress(mx.exchange) {
            return Answer([ip], timeToLive: Answer<[IPAddress]>.longest, rule: .literal)
        }
        let preference = settings.outbound.addressPreference
        guard let host = Domain(mx.exchange) else {
            throw .routing(550, EnhancedStatus(5, 1, 2), "an MX that is no host name")
        }
        do throws(DNSError) {
            guard route.isFromTable else {
                return try await resolver.current.addresses(of: host, preference: preference)
            }
            return try await names.addresses(
                of: host,
                hosts: settings.resolver.hostsFile,
                search: settings.resolver.search.map { SearchList(domains: $0) },
                by: resolver.current,
                preference: preference
            )
        } catch .noSuchName {
            // A name that an administrator wrote and the DNS does not know is no reason to bounce mail.
            if route.isFromTable { throw .routing(451, EnhancedStatus(4, 4, 4), "\(host) has no address") }
            throw .routing(550, EnhancedStatus(5, 4, 4), "\(host) has no address")
        } catch {
            throw .routing(451, EnhancedStatus(4, 4, 3), "\(host): \(error)")
        }
    }

    /// What counts as ourselves now.
    private func loops(_ route: Route, _ settings: Settings) -> LoopGuard {
        LoopGuard(
            own: ownAddresses(),
            listeners: adopted ?? settings.listener.everywhere,
            me: settings.me,
            mayBeLocal: route.isFromTable || settings.outbound.localMXOK
        )
    }

    /// Where we find ourselves, hosts of the same preference are discarded too: they would send it back to us.
    ///
    /// A host whose addresses are not there within ``patience`` is taken for somebody else.
    /// - Throws: status 5.4.6.
    /// - Source: RFC 5321 §5.1
    private func checkEquals(of mx: MX, in route: Route, _ loops: LoopGuard) async throws(Failure) {
        let equals = route.hosts.filter { $0.priority == mx.priority && $0.exchange != mx.exchange }
        guard !route.isFromTable, !equals.isEmpty else { return }
        let names = (equals + [mx]).map(\.exchange).sorted()
        let now = Uptime.now()
        guard strangers.withLock({ $0[names].map { now >= $0 } ?? true }) else { return }
        if let loop = await firstLoop(among: equals, loops) { throw loop }
        // Who was asked to end has found out nothing.
        guard !Task.isCancelled else { return }
        strangers.withLock { $0[names] = now.adding(milliseconds: Self.strangersFor) }
    }

    private func firstLoop(among hosts: [MX], _ loops: LoopGuard) async -> Failure? {
        let resolver = resolver.current
        return await withTaskGroup(of: Failure??.self) { group in
            for host in hosts {
                group.addTask {
                    guard let name = Domain(host.exchange) else { return .some(nil) }
                    let addresses = (try? await resolver.addresses(of: name))?.value ?? []
                    do throws(Failure) { try loops.check(addresses, of: host) } catch { return error }
                    return .some(nil)
                }
            }
            group.addTask {
                try? await Task.sleep(for: Self.patience)
                return .none
            }
            defer { group.cancelAll() }
            var missing = hosts.count
            while missing > 0, case .some(.some(let finding)) = await group.next() {
                if let finding { return finding }
                missing -= 1
            }
            return nil
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
