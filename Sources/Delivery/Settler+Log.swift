// Settler+Log.swift — what became of recipients, as lines of the log.

import Log
import Mail
import Queue

extension Settler {
    func logDelivered(
        _ parcel: Parcel,
        _ recipient: EmailAddress,
        _ receipt: Receipt,
        _ mx: String,
        _ wall: Timestamp
    ) {
        log.write(.delivered) { line in
            line.add(.id, parcel.id.message.description)
            line.add(.to, recipient.local, UInt8(ascii: "@"), recipient.domain.name)
            line.add(.mx, mx)
            line.add(.reply, receipt.reply.description)
            if let security = receipt.security { line.add(.tls, security.description) }
            if parcel.attempt > 1 { line.add(.attempt, parcel.attempt) }
            line.add(.delay, seconds: wall.milliseconds &- parcel.acceptedAt.milliseconds)
        }
    }

    func logFailed(
        _ message: StaticString,
        _ parcel: Parcel,
        _ envelope: Envelope,
        _ failed: Verdicts.Failed,
        _ wall: Timestamp,
        delay: Int64?,
        isSuppressed: Bool = false
    ) {
        let recipient = envelope.recipients[Int(failed.recipient)]
        let failure = failed.failure
        log.write(.notice, message) { line in
            line.add(.id, parcel.id.message.description)
            line.add(.to, recipient.address.local, UInt8(ascii: "@"), recipient.address.domain.name)
            if let remote = failure.remote { line.add(.mx, remote) }
            line.add(.reply, failure.reply.description)
            line.add(.stage, "\(failure.stage)")
            line.add(.scope, "\(failure.scope)")
            line.add(.attempt, parcel.attempt)
            if let delay { line.add(.delay, seconds: delay) }
            line.add(.age, seconds: wall.milliseconds &- parcel.acceptedAt.milliseconds)
            if failure.mayBeDuplicate { line.add(.reason, "may be delivered twice") }
            if delay == nil {
                let isTold = envelope.sender != .null && recipient.wantsFailureReport
                let none = isSuppressed ? "none, suppressed by a plugin" : "none wanted"
                let report = envelope.sender == .null ? "none, null sender" : isTold && !isSuppressed ? "sent" : none
                line.add(.report, report)
            }
        }
    }

    func logFinished(_ parcel: Parcel, _ wall: Timestamp) {
        log.write(.finished) { line in
            line.add(.id, parcel.id.message.description)
            line.add(.elapsed, Int(wall.milliseconds &- parcel.acceptedAt.milliseconds))
        }
    }
}
