// LogEvent.swift — the events of a message's life as the log tells them: one line each, spelled here and nowhere else.

/// What happened to a message.
///
/// People, scripts and exporters hold on to these texts: rename none.
package enum LogEvent: TextualEvent, Sendable {
    /// It is durable, and whoever handed it in has been told so, or is about to be.
    case accepted
    /// A recipient's next hop has it.
    case delivered
    /// A recipient is tried again later.
    case deferred
    /// A recipient will never get it.
    case bounced
    /// A route discards it: the recipient gets nothing, and nobody is told.
    case discarded
    /// Every recipient is done.
    case finished

    /// The line's message.
    package var text: StaticString {
        switch self {
        case .accepted: "message accepted"
        case .delivered: "delivered"
        case .deferred: "delivery deferred"
        case .bounced: "bounced"
        case .discarded: "discarded"
        case .finished: "message finished"
        }
    }
}

extension LogSink {
    /// Writes the line of an event.
    ///
    /// - Parameter fields: adds the fields in order, at once, on this thread.
    package func write(_ event: LogEvent, _ fields: (inout LogLine) -> Void) { write(.notice, event.text, fields) }
}
