// ServerHandler+Message.swift — what a client sends between DATA and the 250 goes to its reception; what becomes of it
// comes back.

import Config
import Intake
import Mail
import MessageFormat
import NIOCore
import Queue
import SMTP
import Storage

extension ServerHandler: ReceptionOwner {
    /// How its mail comes in.
    var way: WayIn { WayIn(.smtp(here), client: client, login: machine.user) }

    /// The machine is about to receive a message of at most so many octets.
    func beginMessage(_ octets: Int) {
        if reception.rules.asksForWay { reception.way = way }
        let login = machine.user.map { Login($0, bound: machine.constraint) }
        machine.begun(reception.begin(octets, by: login))
    }

    /// Some content arrived, and more is to come.
    func lookAtContent() {
        if let rejection = reception.look(for: self) { machine.object(rejection) }
    }

    /// The message is complete.
    func commit() {
        guard var envelope = machine.takeEnvelope() else { return }
        envelope.notes.client = client
        let provenance = Provenance(entrance, client: clientNow(isUTF8: envelope.needsUTF8))
        let traits = ContentTraits(hasLeadingDots: machine.hasLeadingDots, isEightBit: machine.isEightBit)
        guard let refusal = reception.finish(envelope, provenance, traits, for: self) else { return }
        machine.committed(Self.commit(.refused(refusal)))
    }

    /// The client as it is known now.
    func clientNow(isUTF8: Bool = false) -> Provenance.Client {
        let transport = TraceHeaders.Transport(
            isExtended: machine.hello == .ehlo,
            isUTF8: isUTF8,
            isSecure: machine.isSecure,
            isAuthenticated: machine.user != nil
        )
        return origin(
            Provenance.Client(
                address: client,
                literal: clientLiteral,
                helo: machine.heloName,
                with: transport,
                tls: protection,
                mechanism: machine.mechanism,
                mending: machine.mending
            )
        )
    }

    func receptionGoesOn(_ rejection: Rejection?) {
        if let rejection { machine.object(rejection) }
        resume()
    }

    func receptionEnded(_ admission: Admission) {
        machine.committed(Self.commit(admission))
        resume()
    }

    private static func commit(_ admission: Admission) -> ServerMachine.Commit {
        switch admission {
        case .queued(let id, _): .queued(id)
        case .taken: .taken
        case .refused(let refusal):
            refusal.reason.hasOwnWords ? .denied(refusal.reply, because: refusal.reason) : .refused(refusal.reason)
        }
    }
}
