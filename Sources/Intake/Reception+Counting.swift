// Reception+Counting.swift — limits on the way in: a complete message is counted before anybody else is asked about it.
//
// It is counted as it was handed in, and once, however many it becomes. What filters and plugins refuse afterwards has been
// counted: it was sent. What we cannot keep has not.

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
        if let caller = provenance.caller { intake.gate.seen(caller.login, from: caller.address, at: .now()) }
        let verdict = intake.gate.admit(EntryMail(envelope, provenance, octets), at: .now())
        switch verdict {
        case nil: return nil
        case .taken(let use)?:
            draft?.use = use
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
    }
}

extension Refusal {
    /// More than a limit allows.
    ///
    /// The operator is told which; the client is not told by how much.
    init(because surplus: Surplus) {
        reason = .limited
        let isForGood = surplus.action == .refuse || surplus.isNever
        let what =
            surplus.isNever
            ? "more \(surplus.measure.rawValue) in one message than may be sent in \(Self.time(surplus.limit.window))"
            : "too many \(surplus.measure.rawValue) of late\(isForGood ? "" : ", try again later")"
        reply = Reply(isForGood ? 550 : 450, EnhancedStatus(isForGood ? 5 : 4, 7, 1), what)
        waits = isForGood ? nil : surplus.opens
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
