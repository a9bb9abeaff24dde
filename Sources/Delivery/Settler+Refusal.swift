// Settler+Refusal.swift — recipients that a milter does not want: their sender is told before the others' mail is taken.

import Config
package import Intake
import Mail
import Queue

extension Settler {
    /// Tells the sender why some of a message's recipients get nothing.
    ///
    /// - Returns: whether the report is on disk, or nobody wants one.
    package func report(_ refused: RefusedRecipients) async -> Bool {
        let entries = refused.entries
        guard let first = entries.first else { return true }
        let lane = Lane.domain(refused.envelope.recipients[Int(first.index)].address.domain)
        let message = Assignment(
            parcel: Parcel(
                id: Parcel.ID(message: refused.id, ticket: .null),
                lane: lane,
                recipients: entries.map(\.index),
                failures: 0,
                acceptedAt: refused.at
            ),
            envelope: refused.envelope,
            content: refused.content
        )
        let failed = entries.map { entry in
            Verdicts.Failed(recipient: entry.index, failure: Failure(.recipient, at: .recipient, entry.reply))
        }
        return await reports.writeFailure(failed, of: message, into: nil)
    }
}
