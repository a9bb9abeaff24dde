// TLSMemory.swift — servers with which TLS came to nothing a short while ago, where TLS was only a wish.
//
// A passing hiccup must not cost anybody protection, nor a mail: one failure makes a server doubtful, and TLS is tried again.
// Only when it fails again after a while the server is met in the clear, for some minutes, so that a busy lane does not pay
// for a broken handshake with each session. A server that refuses mail in the clear is not met in the clear again.

package import Mail
import Synchronization

/// What is remembered of TLS with one server.
package struct TLSTrouble: Hashable, Sendable {
    /// When TLS came to nothing for the first time of those that are remembered.
    package let since: Uptime
    /// When all of this is forgotten.
    package var until: Uptime
    /// What it came to, the last time.
    package var reply: Reply
    /// It failed again after a while: the server is met in the clear, where nothing more than a wish forbids it.
    package var isLasting = false
    /// In the clear the server took no mail.
    package var refusesClear = false
}

/// Remembers a thousand servers at most.
package final class TLSMemory: Sendable {
    /// Milliseconds that trouble is remembered.
    ///
    /// Long enough to spare a busy lane a broken handshake for each session, too short to be worth an attack.
    static let grudge: Int64 = 600_000
    /// Milliseconds that a server which refuses mail in the clear is not met there.
    static let respect: Int64 = 3_600_000
    private static let most = 1000

    private let troubles = Mutex<[String: TLSTrouble]>([:])

    package init() {}

    /// What is remembered of a peer, as ``Departure/peer`` names it.
    package func trouble(with peer: String, at now: Uptime) -> TLSTrouble? {
        troubles.withLock { troubles in
            guard let trouble = troubles[peer] else { return nil }
            if now < trouble.until { return trouble }
            troubles[peer] = nil
            return nil
        }
    }

    /// TLS with a peer came to nothing.
    ///
    /// - Parameters:
    ///   - reply: how.
    ///   - patience: milliseconds from the first failure from which on another one means that it lasts.
    package func failed(_ peer: String, _ reply: Reply, at now: Uptime, patience: Int64) {
        let known = trouble(with: peer, at: now)
        troubles.withLock { troubles in
            if troubles.count >= Self.most, troubles[peer] == nil { troubles = [:] }
            var trouble = known ?? TLSTrouble(since: now, until: now, reply: reply)
            trouble.reply = reply
            trouble.until = max(trouble.until, now.adding(milliseconds: Self.grudge))
            trouble.isLasting = trouble.isLasting || now >= trouble.since.adding(milliseconds: patience)
            troubles[peer] = trouble
        }
    }

    /// TLS with a peer works.
    package func works(_ peer: String) { troubles.withLock { $0[peer] = nil } }

    /// A peer that was met in the clear for want of TLS wants it.
    package func clearRefused(_ peer: String, at now: Uptime) {
        guard var trouble = trouble(with: peer, at: now) else { return }
        trouble.refusesClear = true
        trouble.until = now.adding(milliseconds: Self.respect)
        troubles.withLock { $0[peer] = trouble }
    }
}
