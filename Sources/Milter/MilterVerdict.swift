// MilterVerdict.swift — what a milter makes of one message.

package import Mail

/// What a milter says at one step of a session, before there is a whole message.
package enum MilterAnswer: Hashable, Sendable {
    case goOn
    /// It has nothing more to say: about the message, or, at the client or HELO, about the whole session.
    case accept
    /// The message is to be taken and dropped.
    case discard
    /// The client hears this, 4xx or 5xx.
    case refuse(Reply)
}

/// The end of one message at one milter.
package struct MilterVerdict: Hashable, Sendable {
    /// What becomes of the message.
    package enum End: Hashable, Sendable {
        /// It goes on, with the changes.
        case pass
        /// It is taken and dropped.
        case discard
        /// The client hears this, 4xx or 5xx.
        case refuse(Reply)
    }

    /// A recipient that the milter does not want.
    package struct Refused: Hashable, Sendable {
        /// Of the mail's recipients.
        package let index: Int
        package let reply: Reply
    }

    package var end = End.pass
    /// In the order in which they were said; those to the header count on what the ones before made of it.
    package var changes: [MilterChange] = []
    /// Rising.
    package var refused: [Refused] = []
    /// The body is another one.
    package var replacesBody = false
    /// Why it is to be held; nil: it is not.
    package var quarantine: String?
    /// Where it was said.
    package var step = MilterStep.endOfBody

    package init() {}

    /// The message is as it was.
    package var changesNothing: Bool { changes.isEmpty && !replacesBody }
}
