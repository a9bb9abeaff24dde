// Settler+Hooks.swift — what plugins have to say about outcomes: `deferred`, `bounce`, `delivered`, and a delay before an
// attempt. Never on an event loop.

import Config
import Hooks
import Log
import Loop
import Mail
import Queue
import Storage

extension Settler {
    /// Asks plugins about what failed; their answers change what becomes of it.
    func ask(about verdicts: inout Verdicts, of assignment: Assignment, _ trail: Trail) async {
        let (parcel, envelope) = (assignment.parcel, assignment.envelope)
        let counted = parcel.failures + (verdicts.countsAsFailure ? 1 : 0)
        if let first = verdicts.deferred.first, plugins.asks(.deferred) {
            let failed = Self.described(verdicts.deferred, envelope)
            let notice = DeferredNotice(
                delay: .milliseconds(verdicts.delay),
                error: first.failure,
                hosts: Self.troubles(trail.failures, and: first.failure),
                recipients: failed,
                mx: trail.mx
            )
            let mail = HMail(parcel, envelope, failures: counted).with(failed.map(\.recipient))
            switch await plugins.deferred(mail, notice) {
            case .next: break
            case .drop: verdicts.dropDeferred()
            case .delay(let time): verdicts.setDelay(time.milliseconds, by: .plugin)
            }
        }
        if let first = verdicts.bounced.first, plugins.asks(.bounce) {
            let failed = Self.described(verdicts.bounced, envelope)
            let notice = BounceNotice(
                error: first.failure,
                mx: trail.mx,
                deferredRecipients: Self.described(verdicts.bounced.filter(\.wasDeferred), envelope),
                bouncedRecipients: Self.described(verdicts.bounced.filter { !$0.wasDeferred }, envelope)
            )
            let failures = first.wasDeferred ? counted : parcel.failures
            let mail = HMail(parcel, envelope, failures: failures).with(failed.map(\.recipient))
            if await plugins.bounce(mail, notice) == .suppress { verdicts.suppressReports() }
        }
    }

    /// Tells plugins who was delivered, once for every reply.
    func tellDelivered(_ taken: [Verdicts.Taken], of assignment: Assignment, at wall: Timestamp) {
        let (parcel, envelope) = (assignment.parcel, assignment.envelope)
        let age = max(0, wall.milliseconds &- parcel.acceptedAt.milliseconds)
        var rest = taken[...]
        while let first = rest.first {
            let same = rest.filter { $0.receipt == first.receipt }
            rest = rest.filter { $0.receipt != first.receipt }[...]
            let recipients = same.map { envelope.recipients[Int($0.recipient)] }
            teller.tell(
                HMail(parcel, envelope).with(recipients),
                DeliveredNotice(first.receipt, delay: .milliseconds(age), recipients: recipients)
            )
        }
    }

    /// A plugin wants a parcel to wait (`send_email`): no failure, and it survives a restart.
    func postpone(_ parcel: Parcel, by time: Duration) {
        var deferral = Deferral(
            recipients: parcel.recipients,
            delay: time.milliseconds,
            reply: LastReply("delayed by a plugin", reason: .local),
            kind: .asked
        )
        deferral.rule = .plugin
        queue.settle(parcel, done: [], deferred: deferral, at: .now(), wall: .now())
        log.write(.notice, "delivery delayed by a plugin") { line in
            line.add(.id, parcel.id.message.description)
            line.add(.hook, Hook.sendEmail.rawValue)
            line.add(.delay, seconds: time.milliseconds)
        }
        changed()
    }

    /// Nobody said where a parcel is to go: its next hop is out of reach, and no longer than any other may be.
    func awaitProgram(_ parcel: Parcel, _ envelope: Envelope, _ reason: String) async {
        let reply = Reply(451, EnhancedStatus(4, 4, 4), reason)
        let failure = Failure(.destination, at: .route, reply)
        let patience = Patience(settings.ask { $0.outbound })
        let kind: Deferral.Kind = patience.isUnreachableCounted ? .failure : .outOfReach
        let (wall, now) = (Timestamp.now(), Uptime.now())
        guard let delay = patience.delay(parcel, kind, at: wall, now) else {
            for assignment in await load([parcel]) {
                settle(assignment, Array(repeating: .deferred(failure), count: parcel.recipients.count))
            }
            return
        }
        let deferral = Deferral(
            recipients: parcel.recipients,
            delay: delay,
            reply: LastReply(failure),
            kind: kind,
            isExtra: parcel.timeToOwn(at: now) != nil
        )
        queue.settle(parcel, done: [], deferred: deferral, at: now, wall: wall)
        for recipient in parcel.recipients where Int(recipient) < envelope.recipients.count {
            let failed = Verdicts.Failed(recipient: recipient, failure: failure)
            logFailed(LogEvent.deferred.text, parcel, envelope, failed, wall, delay: delay)
        }
        changed()
    }

    /// The last word may be among them already, then seen as a trouble of the one host.
    private static func troubles(_ known: [Failure], and last: Failure) -> [Failure] {
        let isKnown = known.last.map { $0.reply == last.reply && $0.stage == last.stage && $0.remote == last.remote }
        return isKnown == true ? known : known + [last]
    }

    private static func described(_ failed: [Verdicts.Failed], _ envelope: Envelope) -> [FailedRecipient] {
        failed.map { FailedRecipient(envelope.recipients[Int($0.recipient)], $0.failure) }
    }
}

extension Duration {
    /// Whole milliseconds; what plugins may ask for fits by far.
    fileprivate var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds &* 1000 &+ attoseconds / 1_000_000_000_000_000
    }
}
