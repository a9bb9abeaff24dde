// PeerMemory+TLS.swift — servers with which TLS came to nothing a short while ago, where TLS was only a wish.
//
// A passing hiccup must not cost anybody protection, nor a mail: one failure makes a server doubtful, and TLS is tried again.
// Only when it fails again after a while the server is met in the clear, for some minutes, so that a busy lane does not pay
// for a broken handshake with each session. A server that refuses mail in the clear is not met in the clear again.

package import Mail

/// What is remembered of TLS with one server.
package struct TLSTrouble: Hashable, Sendable {
    /// When TLS came to nothing for the first time of those that are remembered.
    package let since: Timestamp
    /// When all of this is forgotten.
    package var until: Timestamp
    /// What it came to, the last time, in words.
    package var words: String
    /// It failed again after a while: the server is met in the clear, where nothing more than a wish forbids it.
    package var isLasting = false
    /// In the clear the server took no mail.
    package var refusesClear = false
}

extension PeerMemory {
    /// Milliseconds that trouble is remembered.
    ///
    /// Long enough to spare a busy lane a broken handshake for each session, too short to be worth an attack.
    static let grudge: Int64 = 600_000

    /// What is remembered of TLS with a peer, as ``Departure/peer`` names it.
    package func trouble(with peer: String, at now: Timestamp) -> TLSTrouble? {
        guard let broken = entry(.brokenTLS, of: peer, at: now) else { return nil }
        return TLSTrouble(
            since: min(Timestamp(milliseconds: Int64(broken.value)), now),
            until: broken.until,
            words: broken.words,
            isLasting: knows(.lackingTLS, of: peer, at: now),
            refusesClear: knows(.refusingClear, of: peer, at: now)
        )
    }

    /// TLS with a peer came to nothing.
    ///
    /// - Parameters:
    ///   - reply: how.
    ///   - patience: milliseconds from the first failure from which on another one means that it lasts.
    package func failedTLS(_ peer: String, _ reply: Reply, at now: Timestamp, patience: Int64) {
        let known = trouble(with: peer, at: now)
        let since = known?.since ?? now
        let left = max(Self.grudge, known?.until.milliseconds(since: now) ?? 0)
        learn(.brokenTLS, Int(since.milliseconds), of: peer, at: now, for: left, words: reply.description)
        if known?.isLasting ?? false || now >= since.adding(milliseconds: patience) {
            learn(.lackingTLS, of: peer, at: now, for: left)
        }
    }

    /// TLS with a peer works.
    package func worksTLS(_ peer: String) { forget(.brokenTLS, .lackingTLS, .refusingClear, of: peer) }

    /// A peer that was met in the clear for want of TLS wants it: for an hour it is not met there.
    package func refusedClear(_ peer: String, at now: Timestamp) {
        guard let known = entry(.brokenTLS, of: peer, at: now) else { return }
        let isLasting = knows(.lackingTLS, of: peer, at: now)
        learn(.brokenTLS, known.value, of: peer, at: now, words: known.words)
        if isLasting { learn(.lackingTLS, of: peer, at: now) }
        learn(.refusingClear, of: peer, at: now)
    }
}
