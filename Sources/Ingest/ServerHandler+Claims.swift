// ServerHandler+Claims.swift — who the client is, where a balancer or a trusted proxy tells it: every decision about networks, limits
// and relaying is about the one that is told.

import Config
import Intake
import Log
import Loop
import Mail
import NIOCore
import SMTP

extension ServerHandler {
    /// XCLIENT: the session is somebody else's from now on.
    func readdress(_ claim: ClientClaim) {
        let told = claimed.updated(by: claim)
        claimed = told
        let fresh = door.settings.current
        settings = fresh.listener
        switch told.address {
        case .unsaid: break
        case .unknown: client = nil
        case .value(let address): client = address
        }
        clientLiteral = client?.addressLiteral ?? "[unknown]"
        clientPort = told.port.value ?? 0
        clientName = told.name.value
        // Who logged in, where the certificate came from, was the proxy.
        isReaddressed = true
        loginProof = .own
        let user = told.login.value.flatMap { fresh.auth.users[$0] != nil ? $0 : nil }
        let isWelcome = slot?.move(to: client, perClient: settings.connectionsPerClient) ?? true
        let mayRelay = mayRelay(fresh, isAuthenticated: user != nil)
        let offer = Authenticator.offer(fresh, to: client, isSecure: machine.isSecure)
        machine.readdressed(told, user: user, mayRelay: mayRelay, offer: offer, isWelcome: isWelcome)
        machine.update(
            me: fresh.name(at: here),
            limits: Self.limits(fresh, client, at: here),
            mayRelay: mayRelay,
            offer: offer
        )
        machine.judge = door.intake.judge(fresh, for: way)
        machine.isForAnybody = door.intake.openAddresses(fresh)
        reception.mender = Self.mender(machine.limits)
        if let context { beginEscort(fresh, on: context.eventLoop) }
        tell(.connected)
    }

    /// The client as logs and filters are told of it, where XFORWARD says so.
    func origin(_ from: Provenance.Client) -> Provenance.Client {
        var from = from
        (from.port, from.here, from.name, from.security) = (clientPort, here, clientName, security)
        from.forwarded = machine.forwarded
        return from
    }
}

/// The place of a connection among those of its client.
final class ConnectionSlot {
    private let slots: ConnectionSlots
    private var client: IPAddress?

    init(_ client: IPAddress?, in slots: ConnectionSlots) { (self.client, self.slots) = (client, slots) }

    /// The connection is another client's.
    ///
    /// - Returns: false when that has as many as it may.
    func move(to other: IPAddress?, perClient: Int) -> Bool {
        slots.leave(client)
        client = nil
        guard slots.enter(other, total: .max, perClient: perClient) else {
            // It stands until it is closed, and is nobody's.
            _ = slots.enter(nil, total: .max, perClient: .max)
            return false
        }
        client = other
        return true
    }

    func leave() { slots.leave(client) }
}
