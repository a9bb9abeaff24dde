// AttemptFact+Outcome.swift — what an attempt came to, in the words of history.

import History
import Mail

extension AttemptFact {
    /// Everybody has it: the usual end.
    init(delivered parcel: Parcel, _ outcomes: [Outcome?], _ stages: Stages, at time: Timestamp) {
        self.init(at: time, attempt: parcel.attempt, lane: LaneName(parcel.lane))
        self.stages = stages.listed
        for (recipient, outcome) in zip(parcel.recipients, outcomes) {
            if case .delivered(let receipt) = outcome { add(recipient, receipt, parcel) }
        }
    }

    init(_ parcel: Parcel, _ verdicts: Verdicts, _ stages: Stages, _ reports: Reports, at time: Timestamp) {
        self.init(at: time, attempt: parcel.attempt, lane: LaneName(parcel.lane))
        self.stages = stages.listed
        self.reports = reports
        for taken in verdicts.delivered { add(taken.recipient, taken.receipt, parcel) }
        let next = time.adding(milliseconds: verdicts.delay)
        for failed in verdicts.deferred { add(failed, .deferred, next) }
        for failed in verdicts.bounced { add(failed, verdicts.areHeldBack ? .suppressed : .bounced, nil) }
        for failed in verdicts.dropped { add(failed, .suppressed, nil) }
    }

    private mutating func add(_ recipient: UInt32, _ receipt: Receipt, _ parcel: Parcel) {
        let words = EventData.Words(receipt.reply, stage: nil)
        if let last = parts.indices.last, parts[last].result == .delivered, parts[last].words == words {
            parts[last].recipients.append(recipient)
            return
        }
        if source == nil, let ip = receipt.ip { source = parcel.lane.source?.address(towards: ip) }
        var part = Part(.delivered, [recipient], words)
        part.host = EventData.Host(host: receipt.host, ip: receipt.ip, port: receipt.port)
        part.tls = receipt.security
        parts.append(part)
    }

    private mutating func add(_ failed: Verdicts.Failed, _ result: Part.Result, _ next: Timestamp?) {
        let failure = failed.failure
        var part = Part(result, [failed.recipient], EventData.Words(failure.reply, stage: "\(failure.stage)"))
        part.reason = failed.reason
        part.host = failure.remote.map { EventData.Host(remote: $0) }
        part.next = next
        part.mayBeDuplicate = failure.mayBeDuplicate
        if let last = parts.indices.last {
            part.recipients = parts[last].recipients
            if part == parts[last] {
                parts[last].recipients.append(failed.recipient)
                return
            }
            part.recipients = [failed.recipient]
        }
        parts.append(part)
    }
}

extension Stages {
    fileprivate var listed: [EventData.Stage] {
        var listed: [EventData.Stage] = []
        listed.reserveCapacity(4)
        if let connect { listed.append(EventData.Stage("connect", Int64(connect))) }
        if let session { listed.append(EventData.Stage("session", Int64(session))) }
        if let envelope { listed.append(EventData.Stage("envelope", Int64(envelope))) }
        if let data { listed.append(EventData.Stage("data", Int64(data))) }
        return listed
    }
}

extension EventData.Words {
    fileprivate init(_ reply: Reply, stage: String?) {
        let text = reply.lines.count == 1 ? reply.lines[0] : reply.lines.joined(separator: " ")
        self.init(code: reply.code, enhanced: reply.status, text: text, stage: stage)
    }
}
