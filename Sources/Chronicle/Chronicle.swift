// Chronicle.swift — where events are written to, as the one who follows the log sees it.

package import History
package import Mail

/// A history that takes what the log tells.
package protocol Chronicle: AnyObject, Sendable {
    /// What was kept with the last commit; empty at first.
    var position: [UInt8] { get }

    /// Adds items together with the place to go on from. Blocks.
    func commit(_ items: [HistoryItem], at position: [UInt8]?, durably: Bool, now: Timestamp) throws(HistoryError)

    /// What is known of a message that was accepted earlier, and of others that stand near it, since they are wanted next. Blocks.
    func contexts(near id: QueueID) throws(HistoryError) -> [MessageContext]

    /// The facts that are known of a message; of none where the id is zero. Blocks.
    func facts(of id: QueueID) throws(HistoryError) -> [Facts]
}

extension HistoryBook: Chronicle {}
