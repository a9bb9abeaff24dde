// LaneOpener+Ways.swift — the addresses of one host, and what follows when TLS comes to nothing.
//
//     TLS → the same without what a server may choke on (a session resumed, a certificate shown) → the next address
//         → the next host → a pause, TLS once more → the clear, where TLS was only a wish
//
// Guarantees: one conversation at a time; the clear comes after everything else, and not at a server that refuses mail there.

import Config
import Departure
import Mail
import NIOCore
import Queue
import SMTP

extension LaneOpener {
    /// Addresses of one host that are tried in one search: four of each family.
    private static let mostOfFamily = 4
    /// The longest pause before TLS is tried again in the same search; a longer one is that of the next attempt.
    private static let longestPause: Int64 = 10_000

    /// Takes the first address that answers, then the others, until a session stands.
    func stands(by ways: [Way], _ search: inout Search) async throws(Failure) -> Bool {
        var left = Self.bounded(ways)
        guard let host = left.first?.host else { return false }
        let due = search.due(at: host.index)
        while !left.isEmpty, search.connections > 0, .now() < due {
            let begin = NIODeadline.now()
            left = Array(left.prefix(search.connections))
            var places: [Connector.Place] = []
            for way in left { places.append(try place(way, way.departure.tries[0], isBare: false, search, until: due)) }
            for way in left { board?.note(.connecting, of: search.lane, peer: way.departure.peer) }
            let opening = await connector.open(places, limit: seconds(until: due), on: slot)
            for place in opening.silent { trust.memory.learn(.silent, of: left[place].departure.peer, at: .now()) }
            search.connections -= opening.unreachable.count + 1
            for (_, failure) in opening.unreachable {
                DeliveryMetrics.countOpening(false, since: begin)
                search.note(demanded(failure, search.lane))
            }
            guard let taken = opening.taken else {
                // It has given way to others.
                if let failure = opening.failure { search.note(demanded(failure, search.lane)) }
                return false
            }
            let way = left[taken]
            trust.memory.forget(.silent, of: way.departure.peer)
            DeliveryMetrics.countOpening(opening.failure == nil, since: begin)
            let tls = places[taken].plan.tls
            guard let failure = opening.failure else { return stood(way, tls, search.lane) }
            if try await stands(at: way, after: failure, tls, &search, until: due) { return true }
            let gone = Set(opening.unreachable.map(\.place) + [taken])
            left = left.indices.filter { !gone.contains($0) }.map { left[$0] }
        }
        return false
    }

    private static func bounded(_ ways: [Way]) -> [Way] {
        var (four, six) = (0, 0)
        return ways.filter { way in
            if way.departure.ip?.isV6 ?? false { six += 1 } else { four += 1 }
            return (way.departure.ip?.isV6 ?? false ? six : four) <= mostOfFamily
        }
    }

    /// The other tries of an address, where TLS came to nothing with the first.
    private func stands(
        at way: Way,
        after failure: Failure,
        _ tls: TLSStart?,
        _ search: inout Search,
        until due: NIODeadline
    ) async throws(Failure) -> Bool {
        var (trouble, start, index) = (failure, tls, 0)
        let tries = way.departure.tries
        while trouble.stage == .tls {
            noteBroken(way, tries[index], trouble, start, search.lane)
            // Nobody waits for a policy under test.
            let isWorthAnother = tries[index].because != .policyUnderTest && start?.report.isLaden ?? false
            if !isWorthAnother { index += 1 }
            guard index < tries.count, search.connections > 0, .now() < due else { break }
            let next = try await connect(way, tries[index], isBare: isWorthAnother, &search, until: due)
            guard let failure = next.failure else {
                // A session that is less than the policy wanted was counted as what it failed at.
                return stood(way, tries[0].because == .policyUnderTest && index > 0 ? nil : next.tls, search.lane)
            }
            // What the usual session failed at says more than what the bare one did.
            if !isWorthAnother || failure.stage != .tls { trouble = failure }
            start = next.tls
        }
        if trouble.stage == .tls, way.departure.lastResort != nil { search.lastResorts.append(way) }
        return try givenUp(way, trouble, &search)
    }

    /// What is left when no host would have TLS: the clear, where that is an answer.
    ///
    /// Nothing is held while time passes.
    func standsInTheClear(_ search: inout Search) async throws(Failure) -> Bool {
        for way in search.lastResorts {
            guard search.goesOn else { break }
            if !way.departure.tries.isEmpty {
                guard await isPatienceOver(way, search) else { continue }
            }
            if try await onSlot({ s throws(Failure) in try await standsInTheClear(way, &s) }, &search) { return true }
        }
        return false
    }

    /// TLS once more, unless it is known by now that it comes to nothing, and the clear.
    private func standsInTheClear(_ way: Way, _ search: inout Search) async throws(Failure) -> Bool {
        guard let clear = way.departure.lastResort else { return false }
        if let usual = way.departure.tries.last,
            trust.memory.trouble(with: way.departure.peer, at: .now())?.isLasting != true
        {
            let again = try await connect(way, usual, isBare: true, &search, until: search.due)
            guard let failure = again.failure else { return stood(way, again.tls, search.lane) }
            guard failure.stage == .tls else { return try givenUp(way, failure, &search) }
            noteBroken(way, usual, failure, again.tls, search.lane)
            guard search.goesOn else { return false }
        }
        let last = try await connect(way, clear, isBare: false, &search, until: search.due)
        guard let failure = last.failure else {
            TrustMetrics.stoodInTheClear()
            return true
        }
        return try givenUp(way, failure, &search)
    }

    /// Waits until TLS with a server has been failing long enough to be tried for the last time.
    ///
    /// - Returns: false when that is too long to be waited for here.
    private func isPatienceOver(_ way: Way, _ search: Search) async -> Bool {
        guard let trouble = trust.memory.trouble(with: way.departure.peer, at: .now()) else { return true }
        let end = trouble.since.adding(milliseconds: patience)
        let pause = end.milliseconds(since: .now())
        guard pause > 0 else { return true }
        guard pause <= Self.longestPause, .now() + .milliseconds(pause) < search.due else { return false }
        try? await Task.sleep(for: .milliseconds(pause))
        return true
    }

    private var patience: Int64 { Int64(settings.outbound.tlsFallbackAfter) * 1000 }

    /// One connection to one address.
    private func connect(
        _ way: Way,
        _ attempt: Departure.Try,
        isBare: Bool,
        _ search: inout Search,
        until due: NIODeadline
    ) async throws(Failure) -> (failure: Failure?, tls: TLSStart?) {
        let begin = NIODeadline.now()
        let place = try place(way, attempt, isBare: isBare, search, until: due)
        search.connections -= 1
        board?.note(.connecting, of: search.lane, peer: way.departure.peer)
        let opening = await connector.open([place], limit: seconds(until: due), on: slot)
        let failure = opening.unreachable.first?.failure ?? opening.failure
        DeliveryMetrics.countOpening(failure == nil, since: begin)
        return (failure, place.plan.tls)
    }

    private func seconds(until due: NIODeadline) -> Int64 {
        min(Int64(settings.outbound.connectTimeout), (due - .now()).nanoseconds / 1_000_000_000)
    }

    /// - Parameter tls: what was prepared; nil: nobody wanted any.
    private func stood(_ way: Way, _ tls: TLSStart?, _ lane: Lane) -> Bool {
        if let tls {
            let fault = tls.report.fault
            trust.count(fault?.fault, fault?.words, way.host.trust, way.departure, in: lane)
        }
        if way.host.login != nil { trust.loginAccepted(at: way.host.mx) }
        return true
    }

    /// TLS with an address came to nothing.
    private func noteBroken(
        _ way: Way,
        _ attempt: Departure.Try,
        _ failure: Failure,
        _ tls: TLSStart?,
        _ lane: Lane
    ) {
        if let tls {
            let fault = tls.report.fault ?? (.validation, nil)
            trust.count(fault.fault, fault.words ?? failure.reply.description, way.host.trust, way.departure, in: lane)
        }
        if attempt.because == .policyUnderTest {
            trust.fallsShort(way.host.mx.exchange, of: lane.hop, failure)
        } else if attempt.level > .off {
            TrustMetrics.handshakeFailed()
            guard way.departure.lastResort != nil else { return }
            trust.memory.failedTLS(way.departure.peer, failure.reply, at: .now(), patience: patience)
        }
    }

    /// No session stands at an address.
    ///
    /// - Returns: false.
    /// - Throws: when no other host is to be asked.
    private func givenUp(_ way: Way, _ failure: Failure, _ search: inout Search) throws(Failure) -> Bool {
        let failure = demanded(failure, search.lane)
        search.note(failure)
        guard failure.stage == .auth, failure.scope != .host else { return false }
        trust.loginRefused(at: way.host.mx, failure.reply)
        throw failure
    }
}
