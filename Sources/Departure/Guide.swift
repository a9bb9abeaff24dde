// Guide.swift — finds out which way a mail would go: asks what a delivery would ask, by the same functions, and goes nowhere.
//
// Nothing is sent, counted or remembered; no access token is fetched. Plugins that serve `get_mx` are asked, because they
// decide; those that serve `send_email` are only named, because their answer is about one mail at one time.

package import Config
import DNS
package import Hooks
package import Mail
package import Queue

/// Who knows the ways.
package struct Guide: Sendable {
    private let router: Router
    private let trust: TrustFinder
    private let plugins: PluginChain
    private let queue: MailQueue

    /// - Parameters:
    ///   - router: delivery's.
    ///   - trust: delivery's.
    ///   - plugins: those in force.
    ///   - queue: knows which lanes rest.
    package init(_ router: Router, _ trust: TrustFinder, _ plugins: PluginChain, _ queue: MailQueue) {
        self.router = router
        self.trust = trust
        self.plugins = plugins
        self.queue = queue
    }

    /// Hosts that refuse our login now, the last first.
    package var refusals: [(host: MX, refusal: Refusal)] { trust.refusals }

    /// How sessions were protected, and what domains were told of it.
    package var tlsResults: TLSResultBook { trust.results }

    /// Everything is asked anew from now on: somebody wants mail to go, and what stood in its way may be mended.
    package func forget() {
        router.forget()
        trust.forget()
    }

    /// Whether the DNS has the record of a key.
    package func publication(of record: DKIMRecord) async -> DKIMPublication { await router.publication(of: record) }

    /// What the large providers would find in mail of a domain.
    package func bulkRules(of sender: Domain, _ settings: Settings) async -> [Finding] {
        await router.bulkRules(of: sender, settings, at: .now())
    }

    /// The way of one recipient's mail.
    ///
    /// - Parameter settings: those in force.
    package func way(
        of envelope: Envelope,
        to recipient: EmailAddress,
        _ settings: Settings
    ) async -> Itinerary {
        let usual = settings.lane(for: recipient, of: envelope)
        let guidance = await ask(envelope, recipient)
        var lane = usual
        if case .use(let hosts) = guidance { lane = Lane(.chosen(hosts), from: usual.source, tls: usual.tls) }
        var pool: PoolStanding?
        var hosts: [Itinerary.Host] = []
        var route: Route?
        var problem = guidance.failure
        let decision = settings.routes.decision(for: recipient, from: envelope.sender)
        var isDiscarded = false
        if case .route = lane.hop, case .discard? = decision.route?.way { isDiscarded = true }
        if problem == nil, !isDiscarded {
            do throws(Failure) {
                let found = try await router.route(lane, at: .now())
                pool = queue.poolStanding(of: lane, hosts: found.hosts.map(\.hostName), at: .now())
                if let taker = pool?.first { lane = lane.from(taker.source) }
                hosts = await self.hosts(of: found, lane, settings)
                route = found
            } catch {
                problem = error
            }
        }
        let report = queue.report(on: lane)
        let (now, wall) = (Uptime.now(), Timestamp.now())
        let names = (route?.hosts ?? []).map(\.hostName)
        let standing = queue.standing(of: envelope, to: [recipient], in: lane, hosts: names, at: now)
        return Itinerary(
            recipient: recipient,
            envelope: envelope,
            decision: decision,
            lane: lane,
            hopBecause: lane.hopCause,
            sourceBecause: settings.source(for: recipient, of: envelope).because,
            delayingPlugins: plugins.names(for: .sendEmail),
            guidingPlugins: plugins.names(for: .getMX),
            guidance: guidance,
            isFromTable: route?.isFromTable ?? (lane.hopCause != .dns),
            isSecure: route?.isSecure ?? false,
            hosts: hosts,
            problem: problem,
            limits: settings.outbound,
            laneReport: report,
            learnt: trust.memory.everything(of: lane.description, at: wall),
            restsUntil: report?.restsUntil.map { wall.adding(milliseconds: $0.milliseconds - now.milliseconds) },
            standing: standing,
            pool: pool,
            askedAt: now,
            askedAtWall: wall
        )
    }

    /// - Returns: `.next` without plugins for `get_mx`.
    private func ask(_ envelope: Envelope, _ recipient: EmailAddress) async -> GetMXAnswer {
        guard plugins.asks(.getMX) else { return .next }
        let mail = HMail(
            id: QueueID(at: .now()),
            sender: envelope.sender,
            recipients: [Recipient(recipient)],
            domain: recipient.domain,
            failures: 0,
            queuedAt: .now(),
            notes: envelope.notes
        )
        return await plugins.getMX(mail, domain: recipient.domain)
    }

    private func hosts(of route: Route, _ lane: Lane, _ settings: Settings) async -> [Itinerary.Host] {
        let found = await withTaskGroup(of: (Int, Itinerary.Host).self) { group in
            for (index, mx) in route.hosts.enumerated() {
                group.addTask { (index, await host(mx, route, lane, settings)) }
            }
            return await group.reduce(into: [Int: Itinerary.Host]()) { $0[$1.0] = $1.1 }
        }
        var hosts: [Itinerary.Host] = []
        for index in route.hosts.indices {
            guard let host = found[index] else { continue }
            hosts.append(host)
            if host.problem?.isLoop == true { break }
        }
        return hosts
    }

    private func host(_ mx: MX, _ route: Route, _ lane: Lane, _ settings: Settings) async -> Itinerary.Host {
        var (addresses, problem): (Answer<[IPAddress]>?, Failure?)
        if !mx.hasNoAddress {
            do throws(Failure) {
                addresses = try await router.addresses(of: mx, in: route, from: lane.source)
            } catch {
                problem = error
            }
        }
        let known =
            problem == nil
            ? await trust.trust(in: mx, of: route, lane, addresses, isRehearsal: true)
            : trust.unasked(mx, of: route, lane)
        let wall = Timestamp.now()
        let order = trust.memory.inOrder(addresses?.value ?? [], of: mx, at: wall)
        var places = order.map(Optional.some)
        if mx.hasNoAddress { places = [nil] }
        let troubles = Dictionary(
            places.compactMap { place in
                let peer = Departure.peer(mx, place)
                return trust.memory.trouble(with: peer, at: wall).map { (peer, $0) }
            }
        ) { first, _ in first }
        let sessions = places.map { place in
            Departure(
                to: place,
                of: mx,
                in: lane,
                known,
                troubles[Departure.peer(mx, place)],
                settings
            )
        }
        let learnt = sessions.map { ($0.peer, trust.memory.everything(of: $0.peer, at: wall)) }
        let anywhere = IPAddress(
            mx.bind?.isV6 == true || lane.source?.v4 == nil && lane.source?.v6 != nil ? "::" : "0.0.0.0"
        )
        return Itinerary.Host(
            mx: mx,
            equals: route.equals(of: mx),
            addresses: order,
            addressesBecause: addresses?.rule,
            isPutOff: trust.memory.isSilent(mx, order, at: wall),
            sessions: sessions,
            outline: sessions.first
                ?? Departure(to: anywhere, of: mx, in: lane, known, nil, settings),
            trust: known,
            troubles: troubles,
            learnt: Dictionary(learnt.filter { !$0.1.isEmpty }) { first, _ in first },
            problem: problem,
            loginRefusal: trust.refusal(at: mx),
            token: trust.tokenState(at: mx)
        )
    }
}

extension Lane {
    fileprivate var hopCause: Itinerary.HopCause {
        switch hop {
        case .route: .route
        case .domain: .dns
        case .chosen, .preparation: .plugin
        }
    }
}

extension GetMXAnswer {
    /// What the answer means for a recipient who is not to be delivered now; nil: there is a way.
    package var failure: Failure? {
        switch self {
        case .next, .use: nil
        case .reject(let reason): .routing(550, EnhancedStatus(5, 4, 4), reason)
        // Not X.4.4: a plugin has spoken, and a hop that nobody could reach is something else.
        case .tryLater(let reason, counts: _): .routing(451, EnhancedStatus(4, 3, 0), reason)
        }
    }
}
