// Escort.swift — the milters of one SMTP session, told of it step by step: client, HELO, sender, each recipient. What they refuse is
// refused there; the message's text goes to them over the same connections.
//
// Guarantees: a milter that does not answer objects to nothing before the message's end, where its section says what that means; one
// that sees only some envelopes, or whose client each message tells anew, is told client, HELO and sender when it is known that the
// message is one of its own; no connection is made before there is something to say. Bound to one event loop.

package import Config
import Filters
package import Mail
package import Milter
package import NIOCore
package import Queue

/// The milters of one session.
package final class Escort {
    private let legs: [MilterLeg]
    private var isClosed = false
    /// Parameters of the sender that was told last: those who hear of it with a recipient hear them too.
    private var arguments: [String] = []

    /// - Parameter isOfProxy: each message of the session may be of another client.
    /// - Returns: nil when no milter goes along.
    init?(_ desks: [MilterDesk], isOfProxy: Bool, on loop: any EventLoop) {
        guard !desks.isEmpty else { return nil }
        legs = desks.map { MilterLeg($0, isOfProxy: isOfProxy, on: loop) }
    }

    /// Tells a step.
    ///
    /// - Parameter then: called once, later, with what the client hears and who says it; nil: nobody objects. Never behind ``close()``.
    package func ask(_ step: MilterStep, _ mail: MilterMail, then: @escaping ((reply: Reply, milter: String)?) -> Void)
    {
        var mail = mail
        if step == .rcpt { mail.senderArguments = arguments } else { arguments = mail.senderArguments }
        ask(0, step, mail, then)
    }

    private func ask(
        _ position: Int,
        _ step: MilterStep,
        _ mail: MilterMail,
        _ then: @escaping ((reply: Reply, milter: String)?) -> Void
    ) {
        guard !isClosed else { return }
        guard position < legs.count else { return then(nil) }
        legs[position].ask(step, mail) { [self] answer in
            if case .refuse(let reply) = answer { return then((reply, legs[position].desk.settings.name)) }
            ask(position + 1, step, mail, then)
        }
    }

    /// One milter's part.
    func leg(of desk: MilterDesk) -> MilterLeg? { legs.first { $0.desk === desk } }

    /// The session is over, or is another client's.
    package func close() {
        isClosed = true
        for leg in legs { leg.close() }
    }
}

extension Intake {
    /// The milters that go along with a session; nil: none does.
    package func escort(
        _ entrance: Entrance,
        from client: IPAddress?,
        at here: ListenAddress?,
        _ settings: Settings,
        isOfProxy: Bool,
        on loop: any EventLoop
    ) -> Escort? {
        guard !settings.milters.isEmpty, let filters, let way = MilterSettings.Way(entrance) else { return nil }
        let companions = filters.companions(by: way, from: (client, here, settings.listener.everywhere))
        return Escort(companions, isOfProxy: isOfProxy, on: loop)
    }
}

extension MilterMail {
    /// What is known of a session before there is a message.
    package init(_ client: Provenance.Client, by entrance: Entrance, user: String?, me: Domain) {
        self = ScreenedMail.facts(client, entrance, user: user, me: me)
    }
}
