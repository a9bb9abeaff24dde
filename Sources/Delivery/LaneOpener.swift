// LaneOpener.swift — from a lane that wants a session to a session that stands, on one screen.
//
//     route → hosts in order → what is known of the host → addresses in order
//           → departure → connect, greeting, EHLO, STARTTLS, AUTH → the session works by itself
//
// The first host that talks to us wins; when none does, the last failure says why. A login that was refused ends the
// search: the next host would only count it again.

import Config
import DNS
import Departure
import Mail
import NIOCore
import NIOPosix
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
        var last: Failure?
        for index in (after.map { $0.host + 1 } ?? 0)..<max(route.hosts.count, (after?.host ?? -1) + 1) {
            let mx = route.hosts[index]
            // nil: a Unix socket has no address.
            let addresses: Answer<[IPAddress]>?
            do throws(Failure) {
                addresses = mx.isSocket ? nil : try await self.addresses(of: mx, in: route, from: lane.source)
            } catch {
                troubles.append(error)
                if error.isLoop { throw last ?? error }
                last = worse(last, error)
                continue
            }
            let host = HostAttempt(
                lane: lane,
                route: route,
                index: index,
                trust: await trust.trust(in: mx, of: route, lane, addresses),
                login: try await trust.login(at: mx),
                carried: carried
            )
            for ip in addresses?.value.map(Optional.some) ?? [nil] {
                do throws(Failure) {
                    return try await connect(host, ip)
                } catch {
                    troubles.append(error)
                    if error.stage == .auth, error.scope != .host {
                        trust.loginRefused(at: mx, error.reply)
                        throw error
                    }
                    // What one host cannot do is no reason to bounce while another one was only out of reach.
                    last = error.isUnmetDemand ? worse(last, error) : error
                }
            }
        }
        throw last ?? .routing(451, EnhancedStatus(4, 4, 4), "\(lane) has no host")
    }

    private func route(of lane: Lane) async throws(Failure) -> Route {
        let begin = NIODeadline.now()
        defer { DeliveryMetrics.record(.dns, since: begin) }
        return try await router.route(lane, at: .now())
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

    /// One host of a route, with everything that was found out about it.
    private struct HostAttempt {
        let lane: Lane
        let route: Route
        let index: Int
        let trust: HostTrust
        let login: Login?
        let carried: [Attempt]

        var mx: MX { route.hosts[index] }
    }

    /// One address of a host: as well protected as it must be, and in the clear on a new connection where it may.
    private func connect(_ host: HostAttempt, _ ip: IPAddress?) async throws(Failure) {
        let departure = Departure(
            to: ip,
            of: host.mx,
            in: host.lane,
            host.trust,
            hasFailedRecently: trust.isBroken(Departure.peer(host.mx, ip), at: .now()),
            settings
        )
        var last = Failure(
            .host,
            at: .tls,
            Reply(451, EnhancedStatus(4, 7, 5), departure.refusal?.reason ?? "the host is not used"),
            remote: departure.peer
        )
        if departure.refusal != nil { TrustMetrics.handshakeFailed() }
        for (index, attempt) in departure.tries.enumerated() {
            do throws(Failure) {
                try await connect(host, departure, attempt)
                if host.login != nil { trust.loginAccepted(at: host.mx) }
                return
            } catch {
                guard error.stage == .tls else { throw error }
                last = error
            }
            let isLast = index == departure.tries.count - 1
            if attempt.because == .policyUnderTest {
                trust.fallsShort(host.mx.exchange, of: host.lane.hop, last)
            } else if attempt.level > .off {
                TrustMetrics.handshakeFailed()
                if !isLast { trust.tlsBroke(departure.peer, at: .now()) }
            }
        }
        throw last
    }

    private func connect(
        _ host: HostAttempt,
        _ departure: Departure,
        _ attempt: Departure.Try
    ) async throws(Failure) {
        let begin = NIODeadline.now()
        do throws(Failure) {
            try await connector.open(
                try plan(host, departure, attempt),
                to: departure.ip,
                port: departure.mx.port,
                from: departure.bind
            )
            DeliveryMetrics.countOpening(true, since: begin)
        } catch {
            DeliveryMetrics.countOpening(false, since: begin)
            throw host.lane.tls == .verify ? error.unmetDemand : error
        }
    }

    /// A host without an address must not turn a passing trouble of another host into a bounce, nor the reverse.
    private func worse(_ known: Failure?, _ new: Failure) -> Failure {
        guard let known else { return new }
        return known.reply.severity == .permanent ? new : known
    }

    private func plan(
        _ host: HostAttempt,
        _ departure: Departure,
        _ attempt: Departure.Try
    ) throws(Failure) -> ClientHandler.Plan {
        var options = departure.options(attempt, host.login)
        options.pipelinesAcrossDot = !trust.memory.knows(.losesCount, of: departure.peer, at: .now())
        var tls: TLSStart?
        if attempt.level > .off {
            tls = TLSStart(
                context: try trust.context(),
                check: attempt.check,
                serverName: departure.serverName,
                peer: departure.peer,
                timeout: settings.outbound.tlsTimeout
            )
        }
        return ClientHandler.Plan(
            lane: host.lane,
            options: options,
            limits: settings.outbound,
            hostsLeft: host.route.hosts.count - host.index - 1,
            host: host.index,
            route: host.route,
            carried: host.carried,
            disk: disk,
            tls: tls,
            isNamedByPolicy: departure.isNamedByPolicy
        )
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
