// MailQueue+Words.swift — pauses and the switch of delivery that somebody said to all nodes of a queue, and that this one hears of
// when it comes back.
//
// Guarantee: what it hears is in force when it has heard it, also where it cannot be written down.

package import Mail
import Storage
import Synchronization

extension MailQueue {
    /// What the others are to hear of a scope: the line of its pause; nil: it is not paused.
    package func word(about scope: LimitScope) -> [UInt8]? {
        state.withLock { $0.scheduler.pauses[scope] }.map { Array(LimitFiles.line($0).utf8) }
    }

    /// What the others are to hear of the switch of delivery.
    package static func word(isDisabled: Bool, _ reason: String) -> [UInt8] {
        Array("\(isDisabled ? "off" : "on") \(reason)".utf8)
    }

    /// Tells how the switch of delivery is turned.
    ///
    /// - Parameter turn: called before deliveries begin, or while they run, on any thread; gives whether it is kept.
    package func setSwitch(_ turn: @escaping @Sendable (_ isDisabled: Bool, _ reason: String) -> Bool) {
        turnSwitch.withLock { $0 = turn }
    }

    /// Puts in force what was said while this node was away.
    ///
    /// - Returns: whether all of it is on disk.
    func hear(_ words: [SharedWord]) -> Bool {
        var isKept = true
        for word in words {
            if word.scope.isSame(octets: SharedWord.delivery) {
                isKept = hearSwitch(word) && isKept
            } else if let scope = LimitScope(word.scope) {
                isKept = hear(word.said.flatMap { LimitFiles.pause($0) }, about: scope) && isKept
            }
        }
        return isKept
    }

    private func hearSwitch(_ word: SharedWord) -> Bool {
        guard let said = word.said, let turn = turnSwitch.withLock({ $0 }) else { return true }
        let isDisabled = said.starts(with: Array("off".utf8))
        // What a new node's own file stops is not for an old word to let go.
        if word.isFirst, !isDisabled { return true }
        let reason = said.split(octet: " ", maxSplits: 1).dropFirst().first ?? []
        return turn(isDisabled, String(decoding: reason, as: UTF8.self))
    }

    private func hear(_ pause: Pause?, about scope: LimitScope) -> Bool {
        let known = state.withLock { $0.scheduler.pauses[scope] }
        guard let pause, pause.scope == scope, pause.until.map({ $0 > .now() }) ?? true else {
            return known == nil || resume(scope, by: "another node") ?? true
        }
        if let known, (known.reason, known.actor, known.until) == (pause.reason, pause.actor, pause.until) {
            return true
        }
        return self.pause(pause)
    }
}
