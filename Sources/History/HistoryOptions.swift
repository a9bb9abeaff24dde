// HistoryOptions.swift — how much is kept, and under which names.

package import Mail

/// What the history is told.
package struct HistoryOptions: Sendable {
    /// Whole days that are kept, today not counted.
    package var days = 14
    /// Bytes of the database at most; the oldest part goes first.
    package var bytes = 1 << 30
    /// Name of the relay, for events.
    package var node = "localhost"

    package init() {}
}

/// What a commit adds to the history.
package enum HistoryItem: Hashable, Sendable {
    /// A message was accepted.
    case accepted(MessageContext)
    /// A message that was accepted elsewhere is told of for the first time.
    case adopted(MessageContext)
    /// A note of the log.
    ///
    /// - context: of the message, asked for where it does not stand nearby already; nil: nobody knows.
    case note(QueueID, Facts, isEnd: Bool, context: MessageContext?)
    /// An event of those who read the log.
    case event(CommandFact)
}
