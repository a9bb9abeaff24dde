// MilterDesk.swift — one milter of `milters.ini`: its connections that wait for the next message, its breaker, its numbers.

package import Config
package import Log
import Mail
package import Milter
package import NIOCore
import Synchronization

/// One milter; safe from any thread.
package final class MilterDesk: Sendable {
    private struct State {
        var breaker: Breaker
        /// By event loop, the latest last.
        var kept: [ObjectIdentifier: [NIOLoopBound<MilterSession>]] = [:]
        /// Why it last gave no verdict; nil: it did.
        var trouble: String?
        /// As it was negotiated last; nil: it never was.
        var firstStep: MilterStep?
    }

    package let settings: MilterSettings
    private let log: LogSink
    private let metrics: FilterMetrics
    private let state: Mutex<State>

    package init(_ settings: MilterSettings, log: LogSink) {
        (self.settings, self.log) = (settings, log)
        metrics = FilterMetrics(settings.name)
        state = Mutex(
            State(breaker: Breaker(limit: settings.breakerFailures, pause: Int64(settings.breakerPause) * 1000))
        )
    }

    /// How it is, for those who ask.
    package struct Health: Hashable, Sendable {
        package let name: String
        /// Nobody asks it until its pause is over.
        package let isLeftAlone: Bool
        /// Why it last gave no verdict; nil: it did.
        package let trouble: String?
    }

    package var health: Health {
        state.withLock { Health(name: settings.name, isLeftAlone: $0.breaker.isOpen, trouble: $0.trouble) }
    }

    /// Shows it a message.
    ///
    /// - Parameters:
    ///   - leg: that of the session the message came in by.
    ///   - loop: where this is called, and where the client is asked and told.
    package func examination(
        of mail: MilterMail,
        _ bounds: MilterMachine.Bounds,
        by leg: MilterLeg? = nil,
        on loop: any EventLoop,
        for client: any Examined
    ) -> Examination {
        Examination(self, mail, bounds, by: leg, on: loop, for: client)
    }

    /// The first step of a session that it may have a say in; nil: nobody knows yet.
    var firstStep: MilterStep? { state.withLock { $0.firstStep } }

    /// It has said what it wants to be told.
    func learned(_ step: MilterStep) { state.withLock { $0.firstStep = step } }

    // MARK: Connections

    /// A connection of this loop that waits for a message of this client.
    func kept(for client: MilterMail.Client, on loop: any EventLoop) -> MilterSession? {
        let kept = state.withLock { $0.kept[ObjectIdentifier(loop)] ?? [] }
        guard let session = kept.last(where: { $0.value.client == client && $0.value.isOpen })?.value else {
            return nil
        }
        forget(session, on: loop)
        return session
    }

    /// Keeps a connection.
    ///
    /// - Returns: the one that has waited longest, when there are too many now.
    func keep(_ session: MilterSession, on loop: any EventLoop) -> MilterSession? {
        let bound = NIOLoopBound(session, eventLoop: loop)
        let surplus = state.withLock { state -> NIOLoopBound<MilterSession>? in
            let count = state.kept[ObjectIdentifier(loop), default: []].count
            state.kept[ObjectIdentifier(loop), default: []].append(bound)
            return count < settings.idleSessions ? nil : state.kept[ObjectIdentifier(loop)]?.removeFirst()
        }
        return surplus?.value
    }

    func forget(_ session: MilterSession, on loop: any EventLoop) {
        state.withLock { $0.kept[ObjectIdentifier(loop)]?.removeAll { $0.value === session } }
    }

    /// Its section is gone or says something else: no connection is kept.
    func retire() {
        let kept = state.withLock { state in
            defer { state.kept = [:] }
            return state.kept.values.flatMap { $0 }
        }
        metrics.leftAlone(false)
        for session in kept { session.eventLoop.execute { session.value.leave() } }
    }

    // MARK: Breaker

    func mayAsk() -> Bool { state.withLock { $0.breaker.mayAsk(at: .now()) } }

    func abandoned() { state.withLock { $0.breaker.abandoned(at: .now()) } }

    func succeeded(_ verdict: MilterVerdict, since began: Uptime) {
        metrics.took(Uptime.now().milliseconds - began.milliseconds)
        metrics.count(verdict)
        answered()
    }

    /// It let a message pass, or drops it, before it saw the text.
    package func decided(_ end: MilterVerdict.End) {
        var verdict = MilterVerdict()
        verdict.end = end
        metrics.count(verdict)
    }

    /// It does what it is there for.
    func answered() {
        let isBack = state.withLock { state in
            state.trouble = nil
            return state.breaker.succeeded()
        }
        guard isBack else { return }
        metrics.leftAlone(false)
        log.write(.notice, "milter answers again") { $0.add(.milter, settings.name) }
    }

    func failed(_ fault: MilterFault) {
        metrics.count(fault.kind)
        guard fault.kind != .skipped else { return }
        let isOpened = state.withLock { state in
            state.trouble = fault.text
            return state.breaker.failed(at: .now())
        }
        log.write(.warning, "milter gives no verdict") { line in
            line.add(.milter, settings.name)
            line.add(.reason, fault.text)
        }
        guard isOpened else { return }
        metrics.leftAlone(true)
        log.write(.error, "milter is left alone for a while") { line in
            line.add(.milter, settings.name)
            line.add(.reason, fault.text)
        }
    }
}
