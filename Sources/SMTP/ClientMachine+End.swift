// ClientMachine+End.swift — the message, and the reply to its dot.
//
// Where commands of the next message follow the dot, a reply that is missing would let the 250 of the next MAIL pass for that of
// the dot; so this is done only with peers that have shown, in this session and in strict order, that the one cannot be taken
// for the other. The first 2yz behind a dot is the dot's unless it looks like MAIL's; one that does counts only when the
// reply to the next DATA has come and all stand in place.

import Mail
import NIOCore

extension ClientMachine {
    mutating func bodySent() -> [Action] {
        guard state == .body else { return impossible() }
        state = .end
        current?.sendDot()
        let mayFollow =
            options.pipelinesAcrossDot && !options.isLMTP && capabilities.pipelining && tellsApart && !isEnding
        return mayFollow ? [.ready] : []
    }

    /// A peer that answers before it has the message: whatever it means, the message is not delivered.
    ///
    /// A permanent answer is one here too: the next attempt would send the whole message to hear it again.
    mutating func answeredTooEarly(_ reply: Reply) -> [Action] {
        switch reply.severity {
        case .temporary: return breakOff(reply)
        case .success, .intermediate: return breakOff(Self.wrongPlace(reply), scope: .message)
        case .permanent:
            guard var progress = current.take() else { return impossible() }
            settle(&progress, reply, .message, .body)
            return [.finished(progress.outcomes())] + close(nil)
        }
    }

    mutating func endAnswered(_ reply: Reply, _ moreFollows: Bool) -> [Action] {
        guard var progress = current.take() else { return impossible() }
        if progress.end != nil {
            current = progress
            return upcomingAnswered(reply, moreFollows)
        }
        if reply.severity == .intermediate || isOutOfPlace(reply) {
            current = progress
            return breakOff(Self.wrongPlace(reply))
        }
        if progress.isAbandoned {
            current = progress
            return settleAbandoned(reply, moreFollows)
        }
        if options.isLMTP { return recipientEndAnswered(reply, moreFollows, progress) }
        progress.end = reply
        current = progress
        guard let next = upcoming, !next.isTurnedAway, reply.code != 421 else {
            // A transaction that was turned away has no replies to wait for.
            if upcoming == nil { tellsApart = isReceipt(reply) }
            return tellEnd(reply, moreFollows)
        }
        if isReceipt(reply) { return goOnBehindDot() }
        tellsApart = false
        return []
    }

    /// A reply that says the message is taken and cannot be the one to MAIL: that has subject 1, addresses (RFC 3463 §3.2), or
    /// what this peer said to an earlier one.
    private func isReceipt(_ reply: Reply) -> Bool {
        guard reply.severity == .success, let status = reply.status else { return false }
        return status.subject != 1 && status != statusOfMail
    }

    /// The message is taken; the replies that come now are those of the next one.
    private mutating func goOnBehindDot() -> [Action] {
        let outcomes = takeEnd()
        current = upcoming.take()
        completed &+= 1
        state = .commands
        return [.finished(outcomes)]
    }

    /// Gives those who are open what the peer said to the dot.
    mutating func takeEnd() -> [Outcome?] {
        guard var progress = current.take() else { return [] }
        if let reply = progress.end {
            if reply.severity == .success {
                progress.settleOpen(.settled(.delivered(receipt(reply))))
            } else {
                settle(&progress, reply, .message, .endOfData)
            }
        }
        return progress.outcomes()
    }

    private func receipt(_ reply: Reply) -> Receipt {
        Receipt(
            reply: reply,
            host: options.host,
            ip: options.ip,
            port: options.port,
            isLMTP: options.isLMTP,
            security: security,
            relaysDSN: capabilities.dsn
        )
    }

    /// The reply to the dot has come and nothing contradicts it.
    mutating func tellEnd(_ reply: Reply, _ moreFollows: Bool) -> [Action] {
        var actions: [Action] = [.finished(takeEnd())]
        if let next = upcoming {
            // Turned away, or given up because the host leaves.
            upcoming = nil
            actions.append(.finished(next.outcomes()))
        }
        if reply.code == 421 || moreFollows { return actions + close(nil) }
        completed &+= 1
        return actions + settleDown()
    }

    private mutating func upcomingAnswered(_ reply: Reply, _ moreFollows: Bool) -> [Action] {
        guard var next = upcoming.take() else { return impossible() }
        let step = take(reply, &next)
        upcoming = next
        switch step {
        case .broken(let reply), .misled(let reply): return breakOff(reply)
        case .lost(let reply): return isEndBelieved ? leaveBehindDot() : breakOff(reply)
        case .goOn: return []
        case .sendBody, .abandon, .reset, .over:
            if moreFollows { return breakOff(Self.surplus) }
            return goOnBehindDot() + after(step, false)
        }
    }

    /// Behind a dot: its reply is a refusal that cannot be the one to MAIL, which is answered with subject 1, addresses.
    ///
    /// The peer may leave right behind it, as one does that takes so many messages and no more.
    var isEndBelieved: Bool {
        guard state == .end, upcoming != nil, let reply = current?.end, let status = reply.status else { return false }
        return reply.severity != .success && status.subject != 1
    }

    /// The peer has answered the dot and is gone; the one behind it has done nothing to be blamed for.
    mutating func leaveBehindDot() -> [Action] {
        guard let reply = current?.end else { return impossible() }
        upcoming = upcoming.map { Progress($0.transaction) }
        return tellEnd(reply, true)
    }

    private mutating func settleAbandoned(_ reply: Reply, _ moreFollows: Bool) -> [Action] {
        let outcomes = current?.outcomes() ?? []
        current = nil
        if moreFollows || reply.code == 421 { return [.finished(outcomes)] + close(nil) }
        return [.finished(outcomes)] + settleDown()
    }

    /// LMTP: one reply for each recipient that was accepted, in order (RFC 2033 §4.2).
    private mutating func recipientEndAnswered(
        _ reply: Reply,
        _ moreFollows: Bool,
        _ taken: Progress
    ) -> [Action] {
        var progress = taken
        guard let position = (0..<progress.count).first(where: { progress.isOpen($0) }) else { return impossible() }
        if reply.code == 421 {
            current = progress
            return breakOff(reply)
        }
        let isTaken = reply.severity == .success
        progress.settle(
            position,
            .settled(isTaken ? .delivered(receipt(reply)) : outcome(reply, .recipient, .endOfData))
        )
        current = progress
        return progress.openCount == 0 ? tellEnd(reply, moreFollows) : []
    }
}
