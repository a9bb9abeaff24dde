// Reception+Counting.swift — limits on the way in: a complete message is counted before anybody else is asked about it.
//
// It is counted as it was handed in, and once, however many it becomes. What filters and plugins refuse afterwards has been
// counted: it was sent. What we cannot keep has not.

import Config
import Mail
import NIOCore
import Queue
import SMTP
import Storage

extension Reception {
    /// Octets of the complete message.
    var octets: Int { body.readableBytes + (draft?.file?.size ?? 0) }

    /// Counts the message, which is complete.
    ///
    /// - Returns: why it is refused; it is forgotten then.
    func count(_ envelope: Envelope, _ provenance: Provenance) -> Refusal? {
        // Reports, and mail of plugins: nobody hands them in.
        guard provenance.entrance != .inside else { return nil }
        if let caller = provenance.caller {
            intake.gate.seen(caller.login, from: caller.address, at: .now())
            pending?.envelope.notes.caller = caller.login
        }
        let verdict = intake.gate.admit(mail(envelope, provenance), at: .now())
        switch verdict {
        case nil: return nil
        case .taken(let use)?:
            draft?.use = use
            draft?.seat = intake.gate.seat(of: use)
            if let surplus = use.surplus { pending?.hold = Hold(since: .now(), reason: "too much: \(surplus.words)") }
            return nil
        case .surplus(let surplus)?:
            discard()
            return Refusal(because: surplus)
        case .parked?:
            discard()
            return .parked
        }
    }

    /// Nothing would be left of the message, because of its tag; it is forgotten then.
    func suppressedByTag(_ provenance: Provenance) -> Refusal? {
        guard pending?.returned == nil, let envelope = pending?.envelope,
            let refusal = intake.refusal(ofTagged: envelope, provenance)
        else { return nil }
        discard()
        return refusal
    }

    private func mail(_ envelope: Envelope, _ provenance: Provenance) -> EntryMail {
        var mail = EntryMail(envelope, provenance, octets)
        mail.parts = copies
        mail.listener = provenance.entrance == .api ? Whose.api : provenance.client?.here.flatMap(rules.listeners.name)
        return mail
    }

    /// What was counted for a message that we could not keep.
    func giveBack(_ use: EntryUse?) {
        if let use { intake.gate.giveBack(use, at: .now()) }
    }
}

extension EntryMail {
    init(_ envelope: Envelope, _ provenance: Provenance, _ octets: Int) {
        var sender: String?
        if case .address(let address) = envelope.sender { sender = address.domain.name }
        self.init(
            login: envelope.user ?? provenance.caller?.login,
            client: provenance.client?.address ?? provenance.caller?.address,
            sender: sender,
            recipients: envelope.recipients.count,
            bytes: octets
        )
        people = envelope.recipients
    }
}

extension Refusal {
    /// More than a limit allows.
    ///
    /// The operator is told which; the client is not told by how much.
    init(because surplus: Surplus) {
        reason = .limited
        let isForGood = surplus.action == .refuse || surplus.isNever
        let what = surplus.isNever ? Self.never(surplus) : Self.much(surplus.measure)
        let later = isForGood ? "" : ", try again later"
        let fills = surplus.measure.isOfWaiting
        reply = Reply(
            isForGood ? 550 : fills ? 452 : 450,
            EnhancedStatus(isForGood ? 5 : 4, fills && !isForGood ? 3 : 7, 1),
            what + later
        )
        waits = isForGood ? nil : surplus.opens
    }

    private static func much(_ measure: EntryMeasure) -> String {
        switch measure {
        case .messages, .recipients, .bytes: "too many \(measure.rawValue) of late"
        case .distinct: "too many different recipients of late"
        case .bounces: "too much mail of late could not be delivered"
        case .waitingMessages: "too many messages wait already"
        case .waitingBytes: "too many bytes wait already"
        }
    }

    private static func never(_ surplus: Surplus) -> String {
        switch surplus.measure {
        case .messages, .recipients, .bytes, .distinct, .bounces:
            let word = surplus.measure == .distinct ? "recipients" : surplus.measure.rawValue
            return "more \(word) in one message than may be sent in \(time(surplus.limit.window))"
        case .waitingMessages: return "more recipients in one message than messages may wait"
        case .waitingBytes: return "more bytes in one message than may wait"
        }
    }

    /// Of a login that may not send at present.
    static let parked = Refusal(.limited, Reply(450, EnhancedStatus(4, 7, 1), "this login may not send at present"))

    private static func time(_ window: Int64) -> String {
        switch window {
        case 1000: "a second"
        case 60_000: "a minute"
        case 3_600_000: "an hour"
        case 86_400_000: "a day"
        default: "\(window / 1000) seconds"
        }
    }
}
