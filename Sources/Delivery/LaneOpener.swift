// LaneOpener.swift — from a lane that wants a session to a session that stands, on one screen.
//
//     route → hosts in order → what is known of the host → addresses in order
//           → departure → connect, greeting, EHLO, STARTTLS, AUTH → the session works by itself
//
// The first host that talks to us wins; when none does, the last failure says why. A login that was refused ends the
// search: the next host would only count it again. Hosts whose TLS came to nothing are met in the clear only when no other
// host would do, see `LaneOpener+Ways.swift`. All of it has one time limit, and whoever takes long leaves half to the others.

import Config
import DNS
import Departure
import Mail
import NIOCore
import NIOPosix
import Queue
import SMTP

/// Opens one session.
///
/// A value that lives for one task.
struct LaneOpener: Sendable {
    let router: Router
    let trust: TrustFinder
    let connector: Connector
    let settings: Settings
    let disk: NIOThreadPool
    /// What mail in memory is counted in; nil: a visit, which carries none.
    let budget: MemoryBudget?
    /// The session slot, held while a host is tried and not while one is looked up; nil: a visit, which needs none.
    let slot: SlotClaim?
    /// Posts mail to hosts that take it over HTTPS; nil: nobody does.
    var office: PostOffice?
    /// Hears of each step; nil: a visit, which nobody looks at.
    var board: StepBoard?

    /// Tries hosts until a session stands.
    ///
    /// - Parameters:
    ///   - lane: what the session is for.
    ///   - carried: attempts that earlier hosts could not take; the session begins with them.
    ///   - after: the route and the host of the session that they come from; nil: from the beginning.
    ///   - troubles: gets what every host said that no session stands with, in that order.
    /// - Throws: the last failure when no session stands.
    func open(
        _ lane: Lane,
        carrying carried: [Attempt],
        after: (route: Route, host: Int)?,
        troubles: inout [Failure]
    ) async throws(Failure) {
        let route: Route
        if let after { route = after.route } else { route = try await self.route(of: lane) }
        board?.note(.hosts, of: lane, text: route.hosts.map { "\($0.exchange):\($0.port)" }.joined(separator: ", "))
        var search = Search(lane, route, carried, seconds: settings.outbound.openingTimeout)
        search.board = board
        defer { troubles += search.troubles }
        for index in (after.map { $0.host + 1 } ?? 0)..<max(route.hosts.count, (after?.host ?? -1) + 1) {
            guard search.goesOn else { break }
            if try await stands(at: index, &search) { return }
        }
        let putOff = search.putOff
        search.putOff = []
        for index in putOff {
            guard search.goesOn else { break }
            if try await stands(at: index, isLast: true, &search) { return }
        }
        if try await standsInTheClear(&search) { return }
        throw search.last ?? .routing(451, EnhancedStatus(4, 4, 4), "\(lane) has no host")
    }

    private func route(of lane: Lane) async throws(Failure) -> Route {
        let begin = NIODeadline.now()
        defer { DeliveryMetrics.record(.dns, since: begin) }
        let route = try await router.route(lane, at: .now())
        slot?.leads(to: route.hosts)
        return route
    }

    private func addresses(
        of mx: MX,
        in route: Route,
        from source: Source?
    ) async throws(Failure) -> Answer<[IPAddress]> {
        let begin = NIODeadline.now()
        defer { DeliveryMetrics.record(.dns, since: begin) }
        return try await router.addresses(of: mx, in: route, from: source)
    }

    /// One host of the route.
    ///
    /// - Parameter isLast: it was put off, and its turn has come.
    private func stands(
        at index: Int,
        isLast: Bool = false,
        _ search: inout Search
    ) async throws(Failure) -> Bool {
        let (mx, route, lane) = (search.route.hosts[index], search.route, search.lane)
        // nil: a Unix socket has no address, and that of an HTTPS server is found when it is asked.
        let addresses: Answer<[IPAddress]>?
        do throws(Failure) {
            addresses = mx.hasNoAddress ? nil : try await self.addresses(of: mx, in: route, from: lane.source)
        } catch {
            search.troubles.append(error)
            search.tell(error)
            if error.isLoop { throw search.last ?? error }
            search.last = Search.worse(search.last, error)
            return false
        }
        if !isLast, trust.memory.isSilent(mx, addresses?.value ?? [], at: .now()) {
            search.putOff.append(index)
            return false
        }
        let host = HostAttempt(
            index: index,
            mx: mx,
            trust: await trust.trust(in: mx, of: route, lane, addresses),
            login: try await trust.login(at: mx)
        )
        var ways: [Way] = []
        let order = addresses.map { trust.memory.inOrder($0.value, of: mx, at: .now()).map(Optional.some) } ?? [nil]
        for ip in order {
            let trouble = trust.memory.trouble(with: Departure.peer(mx, ip), at: .now())
            let departure = Departure(to: ip, of: mx, in: lane, host.trust, trouble, settings)
            let way = Way(host: host, departure: departure)
            if let refusal = departure.refusal {
                TrustMetrics.handshakeFailed()
                if let fault = refusal.fault { trust.count(fault, refusal.reason, host.trust, departure, in: lane) }
                let reply = Reply(451, EnhancedStatus(4, 7, 5), refusal.reason)
                search.note(Failure(.host, at: .tls, reply, remote: departure.peer))
            } else if departure.tries.isEmpty {
                search.lastResorts.append(way)
            } else {
                ways.append(way)
            }
        }
        guard !ways.isEmpty else { return false }
        return try await onSlot({ s throws(Failure) in try await stands(by: ways, &s) }, &search)
    }

    /// Connects with a slot, which is given back unless a session stands.
    func onSlot(
        _ connect: (inout Search) async throws(Failure) -> Bool,
        _ search: inout Search
    ) async throws(Failure) -> Bool {
        try await slot?.take()
        do throws(Failure) {
            if try await connect(&search) { return true }
        } catch {
            slot?.giveBack()
            throw error
        }
        slot?.giveBack()
        return false
    }

    /// What a session at one place is to be.
    func place(
        _ way: Way,
        _ attempt: Departure.Try,
        isBare: Bool,
        _ search: Search,
        until due: NIODeadline
    ) throws(Failure) -> Connector.Place {
        let departure = way.departure
        var options = departure.options(attempt, way.host.login)
        options.pipelinesAcrossDot = !trust.memory.knows(.losesCount, of: departure.peer, at: .now())
        var tls: TLSStart?
        if attempt.level > .off {
            tls = TLSStart(
                context: try trust.context(),
                check: attempt.check,
                serverName: departure.serverName,
                peer: departure.peer,
                timeout: settings.outbound.tlsTimeout,
                isBare: isBare
            )
        }
        let plan = ClientHandler.Plan(
            lane: search.lane,
            options: options,
            limits: settings.outbound,
            hostsLeft: search.route.hosts.count - way.host.index - 1,
            host: way.host.index,
            route: search.route,
            carried: search.carried,
            memory: trust.memory,
            disk: disk,
            budget: budget,
            dkim: settings.dkim,
            tls: tls,
            isNamedByPolicy: departure.isNamedByPolicy,
            lacksTLS: attempt == departure.lastResort,
            due: due,
            opening: slot?.opening,
            returnPaths: way.host.mx.api == nil ? settings.rewriting.returnPaths : nil,
            post: try postTerms(way.host.mx, departure.helo)
        )
        return Connector.Place(plan: plan, ip: departure.ip, port: departure.mx.port, bind: departure.bind)
    }
}

extension LaneOpener {
    /// One host of a route, with everything that was found out about it.
    struct HostAttempt: Sendable {
        let index: Int
        let mx: MX
        let trust: HostTrust
        let login: Login?
    }

    /// One address of a host.
    struct Way: Sendable {
        let host: HostAttempt
        let departure: Departure
    }

    /// How far the search has come.
    struct Search {
        /// Connections that one search may ask for: more addresses are no mail system, but somebody who wants us to knock at
        /// many doors.
        private static let mostConnections = 40

        let lane: Lane
        let route: Route
        let carried: [Attempt]
        /// When it ends.
        let due: NIODeadline
        var connections = Self.mostConnections
        /// What every place said that no session stands at.
        var troubles: [Failure] = []
        /// The failure that counts so far.
        var last: Failure?
        /// Where the clear is left when nothing else is.
        var lastResorts: [Way] = []
        /// Hosts none of whose addresses answered a short while ago: they come behind the others.
        var putOff: [Int] = []
        var board: StepBoard?

        init(_ lane: Lane, _ route: Route, _ carried: [Attempt], seconds: Int) {
            (self.lane, self.route, self.carried) = (lane, route, carried)
            due = .now() + .seconds(Int64(seconds))
        }

        /// There is time for another host, and it may be asked.
        var goesOn: Bool { connections > 0 && .now() < due }

        /// When a host must have answered: those behind it get half of what is left.
        func due(at index: Int) -> NIODeadline {
            let left = due - .now()
            return index + 1 < route.hosts.count ? .now() + .nanoseconds(left.nanoseconds / 2) : due
        }

        mutating func note(_ failure: Failure) {
            troubles.append(failure)
            tell(failure)
            // What one host cannot do is no reason to bounce while another one was only out of reach.
            last = failure.isUnmetDemand ? Self.worse(last, failure) : failure
        }

        /// Says it to whoever looks on.
        func tell(_ failure: Failure) {
            board?.note(
                .trouble,
                of: lane,
                peer: failure.remote ?? "",
                text: "\(failure.reply)",
                milliseconds: []
            )
        }

        /// A host without an address must not turn a passing trouble of another host into a bounce, nor the reverse.
        static func worse(_ known: Failure?, _ new: Failure) -> Failure {
            guard let known else { return new }
            return known.reply.severity == .permanent ? new : known
        }
    }

    /// A failure as it counts for the mail of a lane.
    func demanded(_ failure: Failure, _ lane: Lane) -> Failure {
        lane.tls == .verify ? failure.unmetDemand : failure
    }
}

extension Failure {
    /// For mail with REQUIRETLS: a session that cannot be protected is final, and its sender is told (RFC 8689 §4.2.1).
    fileprivate var unmetDemand: Failure {
        guard stage == .tls, reply.severity == .temporary else { return self }
        let words = "the message demands REQUIRETLS: " + reply.lines.joined(separator: " ")
        return Failure(.host, at: .tls, Reply(550, EnhancedStatus(5, 7, 10), words), remote: remote)
    }

    fileprivate var isUnmetDemand: Bool { stage == .tls && reply.severity == .permanent }
}
