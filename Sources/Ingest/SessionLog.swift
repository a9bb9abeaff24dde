// SessionLog.swift — what the log is told of clients: who is turned away, within ``TurnawayLimit``, who comes and goes.

import Log
import Loop
import Mail
import NIOCore
import SMTP
import Synchronization

/// One for all sessions; safe from any thread.
final class SessionLog: Sendable {
    /// Beyond it the numbers begin again: they stand where Postfix's lines have a process's.
    private static let highest = 4_000_000

    private let log: LogSink
    private let limit = Mutex(TurnawayLimit())
    private let sessions = Atomic(0)

    init(_ log: LogSink) { self.log = log }

    /// A number that tells the lines of one session from those of another.
    func nextSession() -> Int { sessions.wrappingAdd(1, ordering: .relaxed).oldValue % Self.highest + 1 }

    /// Whether a refusal gets a line of its own; it is counted where it does not.
    ///
    /// - Parameter count: how many refusals; only one can have a line.
    func admits(_ client: IPAddress?, count: Int = 1, on loop: any EventLoop) -> Bool {
        let now = Uptime.now()
        let (due, verdict) = limit.withLock { limit in
            (limit.due(at: now), limit.admit(client, count: count, at: now))
        }
        tell(due)
        if verdict == .countFirst {
            // Nobody may come again for hours.
            loop.scheduleTask(in: .milliseconds(TurnawayLimit.window)) { [self] in
                tell(limit.withLock { $0.due(at: .now()) })
            }
        }
        return verdict == .tell
    }

    /// A client that may not even have a session.
    func turnedAway(_ client: IPAddress?, _ reply: String, on loop: any EventLoop) {
        guard admits(client, on: loop) else { return }
        log.write(SessionEvent.turnedAway) { line in
            if let client { line.add(.client, client.addressLiteral) }
            line.add(.verb, Turnaway.Verb.connect.rawValue)
            line.add(.reply, reply)
        }
    }

    private func tell(_ due: [TurnawayLimit.Silent]) {
        for silent in due {
            log.write(SessionEvent.turnedAwayAgain) { line in
                if let client = silent.client { line.add(.client, client.addressLiteral) }
                line.add(.count, silent.count)
            }
        }
    }
}

extension ServerHandler {
    /// Writes a line about this client.
    ///
    /// - Parameters:
    ///   - user: who it says it is; nil leaves that out.
    ///   - more: adds further fields.
    func tell(_ event: SessionEvent, _ user: String? = nil, _ more: (inout LogLine) -> Void = { _ in }) {
        guard door.log.tells(event) else { return }
        door.log.write(event) { line in
            line.add(.client, clientLiteral)
            line.add(.session, number)
            switch event {
            case .timedOut, .lost: line.add(.verb, machine.asked.rawValue)
            case .authenticated, .loginRefused, .loginUnknown, .loginThrottled:
                if !machine.heloName.isEmpty { line.add(.helo, machine.heloName) }
                if let mechanism = machine.mechanism { line.add(.mechanism, mechanism.rawValue) }
            case .turnedAway, .turnedAwayAgain, .connected, .handshakeFailed, .disconnected: break
            }
            if let user { line.add(.user, user) }
            more(&line)
        }
    }

    /// Tells what the machine has refused.
    func tellTurnaways(_ loop: any EventLoop) {
        let (kept, others) = machine.takeTurnaways()
        for turnaway in kept where door.book.admits(client, on: loop) {
            tell(.turnedAway, machine.user) { line in
                if !machine.heloName.isEmpty { line.add(.helo, machine.heloName) }
                line.add(.verb, turnaway.verb.rawValue)
                if let sender = turnaway.sender { line.add(.from, sender) }
                if let recipient = turnaway.recipient { line.add(.to, recipient) }
                line.add(.reply, turnaway.reply)
            }
        }
        if others > 0 { _ = door.book.admits(client, count: others, on: loop) }
    }
}
