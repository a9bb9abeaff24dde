// ServerMachine+Replies.swift — saying no, counting it, and ending a session that is told so too often.

import Mail

extension ServerMachine {
    /// Says no, and ends a session that has been told so too often.
    ///
    /// - Parameter isTold: false when whoever owns the session tells the operator.
    mutating func refuse(_ reply: CannedReply, isTold: Bool = true) {
        if case .closed = phase { return }
        if isTold { note(reply.description) }
        if reply.severityDigit == 5 {
            errors += 1
            if errors > limits.errors {
                throwOut(.tooManyErrors)
                return
            }
        }
        reply.write(to: &output)
    }

    /// Answers a command that brings no message nearer.
    mutating func idle(_ reply: CannedReply) {
        if countIdle() { reply.write(to: &output) }
    }

    /// Counts such a command; false when it was one too many and the session has ended.
    mutating func countIdle() -> Bool {
        idleCommands += 1
        if idleCommands <= limits.idleCommands { return true }
        throwOut(.tooManyIdleCommands)
        return false
    }

    /// A message got through: whatever went wrong before is forgiven.
    mutating func forgive() {
        errors = 0
        idleCommands = 0
    }

    /// What was refused since the last call, for whoever counts.
    package mutating func takeRejections() -> [Rejection] {
        if rejections.isEmpty { return [] }
        defer { rejections = [] }
        return rejections
    }

    /// Ends the session for something that the client has done.
    mutating func throwOut(_ reply: CannedReply) {
        note(reply.description, ends: true)
        end(reply)
    }

    mutating func end(_ reply: CannedReply) {
        reply.write(to: &output)
        phase = .closed
    }

    mutating func drainIfIdle() {
        guard isDraining, transaction == nil, case .command = phase else { return }
        end(.shuttingDown)
    }

    /// Forgets the transaction; the owner has to forget a message that was begun.
    mutating func abandonTransaction() -> Need? {
        let wasBegun = transaction?.isBegun ?? false
        transaction = nil
        forwarded = nil
        return wasBegun ? .abandon : nil
    }
}
