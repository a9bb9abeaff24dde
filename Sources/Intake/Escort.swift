// Escort.swift — the milters of one SMTP session, told of it step by step: client, HELO, sender, each recipient. What they refuse is
// refused there; the message's text goes to them over the same connections.
//
// Guarantees: a milter that does not answer objects to nothing before the message's end, where its section says what that means;
// nobody is asked who sees only some envelopes. Bound to one event loop.

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

    /// - Returns: nil when no milter goes along.
    init?(_ desks: [MilterDesk], on loop: any EventLoop) {
        guard !desks.isEmpty else { return nil }
        legs = desks.map { MilterLeg($0, on: loop) }
    }

    /// Tells a step.
    ///
    /// - Parameter then: called once, later, with what the client hears and who says it; nil: nobody objects. Never behind ``close()``.
    package func ask(_ step: MilterStep, _ mail: MilterMail, then: @escaping ((reply: Reply, milter: String)?) -> Void)
    {
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
        on loop: any EventLoop
    ) -> Escort? {
        guard !settings.milters.isEmpty, let filters, let way = MilterSettings.Way(entrance) else { return nil }
        return Escort(filters.companions(by: way, from: (client, here, settings.listener.everywhere)), on: loop)
    }
}

extension MilterMail {
    /// What is known of a session before there is a message.
    package init(_ client: Provenance.Client, by entrance: Entrance, user: String?, me: Domain) {
        self = ScreenedMail.facts(client, entrance, user: user, me: me)
    }
}
