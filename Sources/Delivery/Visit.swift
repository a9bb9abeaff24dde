// Visit.swift — goes to a next hop as a delivery would, and leaves before the first MAIL: what `martlet doctor` tries.
//
// The session is one of delivery's own, with the same route, trust and login; only its work is missing, so QUIT follows
// where MAIL would stand.

package import Config
import DNS
package import Departure
package import Mail
package import NIOCore
package import NIOPosix
import Queue
import SMTP

/// Connection, greeting, EHLO, TLS, AUTH, QUIT.
package struct Visit: Sendable {
    /// Seconds for each step; a delivery has more patience.
    private static let patience = 20

    private let loop: any EventLoop
    private let disk: NIOThreadPool
    private let router: Router
    private let trust: TrustFinder
    private let settings: Settings
    private let office: PostOffice?

    /// - Parameters:
    ///   - loop: where sessions live.
    ///   - disk: threads for what blocks; nothing does here.
    ///   - router: finds addresses.
    ///   - trust: knows how well hosts must be protected, and what to log in with.
    ///   - settings: those that a delivery would have.
    ///   - office: for hosts that take mail over HTTPS; nothing is posted.
    package init(
        loop: any EventLoop,
        disk: NIOThreadPool,
        router: Router,
        trust: TrustFinder,
        settings: Settings,
        office: PostOffice? = nil
    ) {
        self.office = office
        self.loop = loop
        self.disk = disk
        self.router = router
        self.trust = trust
        var hasty = settings
        hasty.outbound.hurry(Self.patience)
        self.settings = hasty
    }

    /// Goes to a host of the route table.
    ///
    /// - Throws: ``Failure`` at the stage that a delivery would fail at.
    package func callAsFunction(to mx: MX) async throws(Failure) -> Impression {
        let over = loop.makePromise(of: Impression.self)
        do {
            let loop = self.loop
            let visitor = try await loop.submit {
                NIOLoopBound<any ParcelSource>(Visitor(over), eventLoop: loop)
            }.get()
            let opener = LaneOpener(
                router: router,
                trust: trust,
                connector: Connector(loop: loop, source: visitor),
                settings: settings,
                disk: disk,
                budget: nil,
                slot: nil,
                office: office
            )
            var troubles: [Failure] = []
            try await opener.open(Lane(.chosen([mx])), carrying: [], after: nil, troubles: &troubles)
        } catch {
            // Nobody stood, so nobody answers.
            over.fail(error)
        }
        do {
            var impression = try await over.futureResult.get()
            let route = Route(hosts: [mx], isFromTable: true)
            if !mx.hasNoAddress { impression.foundBy = try? await router.addresses(of: mx, in: route, from: nil).rule }
            return impression
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(.host, at: .connect, Reply(451, EnhancedStatus(4, 4, 2), reasonText(error)))
        }
    }
}

/// Work for a session that has none: looks around and says QUIT.
private final class Visitor: ParcelSource {
    private let over: EventLoopPromise<Impression>
    private var withoutLogin: String?

    init(_ over: EventLoopPromise<Impression>) { self.over = over }

    func next(for session: ClientHandler) -> NextParcel { .yield }

    func warns(_ warning: ClientMachine.Warning, from session: ClientHandler) {
        switch warning {
        case .sentWithoutAuth(let reason): withoutLogin = reason
        }
    }

    func ended(_ session: ClientHandler) {
        let (peer, security) = (session.machine.peer, session.machine.security)
        over.succeed(Impression(peer: peer, security: security, withoutLogin: withoutLogin))
    }

    func stands(_ session: ClientHandler) {}
    func idles(_ session: ClientHandler) { session.quit() }
    func finished(_ attempt: Attempt, _ outcomes: [Outcome?], by session: ClientHandler) {}
}

extension OutboundSettings {
    /// Shortens what comes before MAIL.
    fileprivate mutating func hurry(_ seconds: Int) {
        openingTimeout = min(openingTimeout, 3 * seconds)
        connectTimeout = min(connectTimeout, seconds)
        greetingTimeout = min(greetingTimeout, seconds)
        heloTimeout = min(heloTimeout, seconds)
        tlsTimeout = min(tlsTimeout, seconds)
    }
}
