// SessionEvent.swift — what the log tells of clients and their sessions, apart from their mail; spelled here and nowhere else.

/// What happened to a client.
///
/// People, scripts and exporters hold on to these texts: rename none.
package enum SessionEvent: TextualEvent, Sendable {
    /// It was refused something that keeps its mail out, or its session was ended for what it did.
    case turnedAway
    /// It was refused more often in the last minute than lines were written.
    case turnedAwayAgain
    /// It has proved who it is.
    case authenticated
    /// It gave a wrong password.
    case loginRefused
    /// It could not be found out whether a client is who it says.
    case loginUnknown
    /// It gave so many that it was not asked any more.
    case loginThrottled
    /// It has connected.
    case connected
    /// Its handshake came to nothing.
    case handshakeFailed
    /// It said nothing for too long.
    case timedOut
    /// It went without a word.
    case lost
    /// Its connection is over, whoever ended it.
    case disconnected

    /// The line's message.
    package var text: StaticString {
        switch self {
        case .turnedAway: "client turned away"
        case .turnedAwayAgain: "client turned away again"
        case .authenticated: "client authenticated"
        case .loginRefused: "authentication refused"
        case .loginUnknown: "authentication not possible"
        case .loginThrottled: "authentication throttled"
        case .connected: "client connected"
        case .handshakeFailed: "TLS handshake failed"
        case .timedOut: "client timed out"
        case .lost: "client lost"
        case .disconnected: "client disconnected"
        }
    }

    /// How loud its line is; `info` is what readers of Postfix's log expect to see all the same.
    var level: LogLevel {
        switch self {
        case .turnedAway, .turnedAwayAgain, .authenticated, .loginRefused, .loginUnknown, .loginThrottled: .notice
        case .connected, .handshakeFailed, .timedOut, .lost, .disconnected: .info
        }
    }
}

extension LogSink {
    /// Whether the line of an event is written; ask before preparing something costly.
    package func tells(_ event: SessionEvent) -> Bool { logs(event.level) || isPostfix && logs(.notice) }

    /// Writes the line of an event.
    ///
    /// - Parameter fields: adds the fields in order, at once, on this thread.
    package func write(_ event: SessionEvent, _ fields: (inout LogLine) -> Void) {
        guard tells(event) else { return }
        let text = event.text
        compose(event.level, UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount), fields)
    }
}
