// ClientMachine+Transaction.swift — MAIL to the reply to DATA; what follows is in `ClientMachine+End.swift`.
//
// With PIPELINING the commands of a transaction are one write, and those of the next one may follow the dot of this one in
// the same write (RFC 2920 §3.1).

import Mail
import NIOCore

extension ClientMachine {
    mutating func offered(_ transaction: Transaction) -> [Action] {
        let mayFollow = state == .end && upcoming == nil && current?.end == nil
        guard state == .ready || mayFollow else { return impossible() }
        var progress = Progress(transaction)
        if isEnding || progress.count == 0 { return turnedAway(progress) }
        if let refusal = refusal(of: transaction) {
            settle(&progress, afterHangUp(refusal), .message, .mail)
            return turnedAway(progress)
        }
        if let failure = lackOfProtection(for: transaction.envelope) {
            progress.settleOpen(.settled(.deferred(failure)))
            return turnedAway(progress)
        }
        bounceForeignLetters(&progress)
        if progress.openCount == 0 { return turnedAway(progress) }
        scratch.clear()
        if capabilities.pipelining {
            writeMail(progress)
            for position in 0..<progress.count where progress.isOpen(position) { writeRecipient(position, progress) }
            scratch.writeStaticString("DATA\r\n")
            progress.isDataSent = true
        } else {
            writeMail(progress)
        }
        if state == .ready {
            current = progress
            state = .commands
        } else {
            upcoming = progress
        }
        return [.send(scratch)]
    }

    /// A transaction that ends before it begins.
    private mutating func turnedAway(_ progress: Progress) -> [Action] {
        if state == .ready { return [.finished(progress.outcomes())] + settleDown() }
        // Behind a dot: its turn to be told comes after the one before it.
        var progress = progress
        progress.isTurnedAway = true
        upcoming = progress
        return []
    }

    // MARK: what the peer cannot take

    private func refusal(of transaction: Transaction) -> Reply? {
        if let limit = capabilities.sizeLimit, transaction.size > limit {
            return Reply(
                552,
                EnhancedStatus(5, 3, 4),
                "the message has \(transaction.size) octets and the next hop takes \(limit)"
            )
        }
        if !capabilities.utf8, transaction.envelope.needsUTF8 {
            if transaction.hasUTF8Header || !isASCII(transaction.envelope.sender) {
                return Reply(553, EnhancedStatus(5, 6, 7), "the next hop does not offer SMTPUTF8")
            }
        }
        if let obstacle = transaction.obstacle { return Reply(554, EnhancedStatus(5, 6, 3), obstacle) }
        if !capabilities.eightBitMIME, transaction.envelope.isEightBit, transaction.isEightBit {
            return Reply(554, EnhancedStatus(5, 6, 3), "the next hop does not offer 8BITMIME")
        }
        return nil
    }

    /// A peer that hung up at EHLO has not said what it offers: that may have been a hiccup, and bounces nothing.
    private func afterHangUp(_ refusal: Reply) -> Reply {
        options.saysHELO ? Reply(451, refusal.reportedStatus.with(class: 4), lines: refusal.lines) : refusal
    }

    private func isASCII(_ path: ReversePath) -> Bool {
        switch path {
        case .null: true
        case .address(let address): address.isASCII
        }
    }

    /// Without SMTPUTF8 only the recipients whose own address needs it are lost (RFC 6531 §3.2).
    private func bounceForeignLetters(_ progress: inout Progress) {
        guard !capabilities.utf8, progress.transaction.envelope.needsUTF8 else { return }
        for position in 0..<progress.count where !progress.transaction.recipient(position).address.isASCII {
            let reply = Reply(553, EnhancedStatus(5, 6, 7), "the next hop does not offer SMTPUTF8")
            progress.silence(position, outcome(afterHangUp(reply), .recipient, .recipient))
        }
    }

    // MARK: commands

    private mutating func writeMail(_ progress: Progress) {
        let (transaction, capabilities) = (progress.transaction, capabilities)
        let envelope = transaction.envelope
        scratch.compose(256) { line in
            line.put("MAIL FROM:<")
            if case .address(let address) = envelope.sender { Self.write(address, to: &line) }
            line.put(">")
            if capabilities.size {
                line.put(" SIZE=")
                line.put(decimal: UInt(clamping: transaction.size))
            }
            if capabilities.eightBitMIME, transaction.isEightBit || envelope.isEightBit { line.put(" BODY=8BITMIME") }
            if capabilities.utf8, envelope.needsUTF8 { line.put(" SMTPUTF8") }
            // Only where it is offered inside TLS: see `lackOfProtection`.
            if envelope.requiresTLS, capabilities.requireTLS { line.put(" REQUIRETLS") }
            if capabilities.dsn {
                switch envelope.returns {
                case .full: line.put(" RET=FULL")
                case .headers: line.put(" RET=HDRS")
                case nil: break
                }
                if let id = envelope.envelopeID, Self.isParameter(id) {
                    line.put(" ENVID=")
                    line.put(id)
                }
            }
            line.put("\r\n")
        }
    }

    private mutating func writeRecipient(_ position: Int, _ progress: Progress) {
        let (recipient, takesDSN) = (progress.transaction.recipient(position), capabilities.dsn)
        scratch.compose(256) { line in
            line.put("RCPT TO:<")
            Self.write(recipient.address, to: &line)
            line.put(">")
            if takesDSN {
                if let notify = recipient.notify { Self.write(notify, to: &line) }
                if let original = recipient.original, Self.isParameter(original) {
                    line.put(" ORCPT=")
                    line.put(original)
                }
            }
            line.put("\r\n")
        }
    }

    private static func write(_ address: EmailAddress, to line: inout OctetWriter) {
        line.put(address.local)
        line.put(UInt8(ascii: "@"))
        line.put(address.domain.name)
    }

    private static func write(_ notify: Notify, to line: inout OctetWriter) {
        line.put(" NOTIFY=")
        if notify.isEmpty { return line.put("NEVER") }
        var separator: StaticString = ""
        for (condition, word): (Notify, StaticString) in [
            (.success, "SUCCESS"), (.failure, "FAILURE"), (.delay, "DELAY"),
        ] where notify.contains(condition) {
            line.put(separator)
            line.put(word)
            separator = ","
        }
    }

    /// The last guard against a parameter that would become a command of its own.
    private static func isParameter(_ text: String) -> Bool { text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F } }

    // MARK: replies to commands

    mutating func commandAnswered(_ reply: Reply, _ moreFollows: Bool) -> [Action] {
        guard var progress = current.take() else { return impossible() }
        if progress.step == 0, reply.severity == .success { statusOfMail = reply.status }
        let verdict = take(reply, &progress)
        current = progress
        return after(verdict, moreFollows)
    }

    enum Step {
        case goOn, sendBody, abandon, reset, over
        case broken(Reply)
        case lost(Reply)
        /// 2yz to DATA.
        case misled(Reply)
    }

    /// Puts one reply in its place.
    func take(_ reply: Reply, _ progress: inout Progress) -> Step {
        if reply.code == 421 { return .lost(reply) }
        if isOutOfPlace(reply) { return .broken(Self.wrongPlace(reply)) }
        let step = progress.step
        if step == progress.dataStep { return takeData(reply, &progress) }
        if reply.severity == .intermediate { return .broken(Self.wrongPlace(reply)) }
        progress.advance()
        if step == 0 {
            progress.senderAccepted = reply.severity == .success
            if !progress.senderAccepted { settle(&progress, reply, .message, .mail) }
        } else {
            takeRecipient(reply, step - 1, &progress)
        }
        // In lockstep nothing more is said once nobody is left.
        if progress.openCount == 0, !progress.isDataSent { return progress.senderAccepted ? .reset : .over }
        return .goOn
    }

    private func takeRecipient(_ reply: Reply, _ position: Int, _ progress: inout Progress) {
        if reply.severity != .success { progress.settle(position, .settled(outcome(reply, .recipient, .recipient))) }
    }

    private func takeData(_ reply: Reply, _ progress: inout Progress) -> Step {
        switch reply.severity {
        case .success:
            progress.advance()
            return .misled(Self.wrongPlace(reply))
        case .intermediate:
            progress.advance()
            if progress.openCount > 0 { return .sendBody }
            // RFC 2920 §3.1: nobody is left, but the peer waits for a message; a dot alone ends it. After a refused MAIL
            // the peer contradicts itself, and not even a dot is safe.
            return progress.senderAccepted ? .abandon : .broken(Self.wrongPlace(reply))
        case .temporary, .permanent:
            progress.advance()
            settle(&progress, reply, .message, .data)
            return progress.senderAccepted ? .reset : .over
        }
    }

    /// Gives everyone who is open what the reply says about the whole message.
    func settle(
        _ progress: inout Progress,
        _ reply: Reply,
        _ scope: Failure.Scope,
        _ stage: Failure.Stage
    ) {
        progress.settleOpen(.settled(outcome(reply, scope, stage)))
    }

    /// What a reply that is no 2yz makes of those it concerns.
    func outcome(_ reply: Reply, _ scope: Failure.Scope, _ stage: Failure.Stage) -> Outcome {
        if wantsLogin(reply) { return .deferred(authFailure(.destination, reply)) }
        let failure = Failure(scope, at: stage, reply, remote: remote)
        return reply.severity == .permanent ? .bounced(failure) : .deferred(failure)
    }

    mutating func after(_ step: Step, _ moreFollows: Bool) -> [Action] {
        switch step {
        case .broken(let reply): return breakOff(reply)
        case .lost(let reply): return lost(reply)
        case .misled(let reply):
            // Whatever it means, the peer does not wait for a message, and none is sent; RSET shows where we are.
            let failure = Failure(.host, at: .data, reply, remote: remote)
            current?.settleOpen(.settled(.deferred(failure)))
            return after(.reset, moreFollows)
        case .goOn: return current?.isDataSent ?? true ? [] : nextCommand(moreFollows)
        case .sendBody:
            if moreFollows { return breakOff(Self.surplus) }
            if isAborting { return leaveUntried() }
            state = .body
            return [.sendBody]
        case .abandon:
            if moreFollows { return breakOff(Self.surplus) }
            current?.sendDot(isAbandoned: true)
            state = .end
            return [send(".", "")]
        case .reset, .over:
            let outcomes = current?.outcomes() ?? []
            current = nil
            if moreFollows { return [.finished(outcomes)] + breakOff(Self.surplus) }
            if case .over = step { return [.finished(outcomes)] + settleDown() }
            state = .resetting
            return [.finished(outcomes), send("RSET", "")]
        }
    }

    /// We are told to stop, and the message has not been sent: nothing happened.
    private mutating func leaveUntried() -> [Action] {
        let outcomes = current?.outcomes() ?? []
        current = nil
        return [.finished(outcomes)] + close(nil)
    }

    /// 421: the host leaves.
    ///
    /// Refusals that came before stand.
    private mutating func lost(_ reply: Reply) -> [Action] {
        if state == .commands { takenBeforeLeaving = current?.takenSoFar }
        if let progress = current, completed > 0, state == .commands, progress.step == 0 {
            current = nil
            return [.finished(progress.outcomes())] + close(nil)
        }
        return breakOff(reply)
    }

    /// Lockstep: the next command that has not been sent.
    private mutating func nextCommand(_ moreFollows: Bool) -> [Action] {
        if moreFollows { return breakOff(Self.surplus) }
        guard var progress = current.take() else { return impossible() }
        scratch.clear()
        if progress.step == progress.dataStep {
            scratch.writeStaticString("DATA\r\n")
            progress.isDataSent = true
        } else {
            writeRecipient(progress.step - 1, progress)
        }
        current = progress
        return [.send(scratch)]
    }
}
