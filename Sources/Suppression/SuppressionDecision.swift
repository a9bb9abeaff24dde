// SuppressionDecision.swift — what a bounce means for the list of addresses that get nothing. Pure; its truth table is
// `Tests/Tables/suppression.table`.

package import Mail

/// What is known of an address when a bounce comes.
package struct SuppressionEvidence: Hashable, Sendable {
    /// Who said so.
    package var host: String
    package var time: Timestamp

    package init(host: String, time: Timestamp) {
        self.host = host
        self.time = time
    }
}

/// What a bounce makes of an address.
package enum SuppressionStep: Hashable, Sendable {
    /// Nothing: it says nothing of the mailbox.
    case none
    /// It gets nothing until then, unless something confirms it.
    case until(Timestamp)
    case forEver

    /// Milliseconds between two bounces that count as of two days.
    static let day: Int64 = 86_400_000

    /// Decides.
    ///
    /// Only what speaks of the mailbox counts: a block or a policy says something of us, and must not burn a list.
    /// - Parameters:
    ///   - replyClass: of the reply that bounced the mail.
    ///   - code: of the reply; what is only for now proves nothing.
    ///   - evidence: who said it now.
    ///   - first: who said it first, if somebody did.
    ///   - days: that one bounce counts.
    package init(
        _ replyClass: ReplyClass,
        code: UInt16,
        by evidence: SuppressionEvidence,
        after first: SuppressionEvidence?,
        days: Int
    ) {
        guard replyClass.speaksOfMailbox, (500...599).contains(code) else {
            self = .none
            return
        }
        if let first {
            let isLater = evidence.time.milliseconds(since: first.time) >= Self.day
            if isLater || !evidence.host.isSame(octets: first.host) {
                self = .forEver
                return
            }
        }
        self = .until(evidence.time.adding(milliseconds: Int64(days) * Self.day))
    }
}
