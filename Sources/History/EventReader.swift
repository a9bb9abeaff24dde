// EventReader.swift — how events are read: after a number, some kinds of them, waiting for the next one, with a place that is
// kept over restarts. Webhooks, SSE, files and the API read by this and by nothing else.

package import Mail

/// Which events a reader wants; an empty one wants all.
package struct EventFilter: Hashable, Sendable {
    /// One of these; empty: any.
    package var types: Set<EventType> = []
    package var message: QueueID?
    /// The whole address, or `*@domain`.
    package var recipient: AddressFilter?
    package var sender: AddressFilter?
    /// The domain of the sender or of the recipient.
    package var domain: Domain?
    package var route: String?
    package var tag: String?
    package var headerMessageID: String?
    package var reason: FailureReason?
    package var replyClass: ReplyClass?
    /// SMTP code, such as 550.
    package var code: UInt16?
    package var since: Timestamp?
    package var before: Timestamp?

    package init() {}
}

/// Some events in order.
package struct EventPage: Sendable {
    package var events: [Event]
    /// Everything up to this number was looked at: where to go on, whether or not anything fit.
    package var last: UInt64
    /// Nothing was known behind it at that moment.
    package var isAtEnd: Bool

    package init(events: [Event], last: UInt64, isAtEnd: Bool) {
        self.events = events
        self.last = last
        self.isAtEnd = isAtEnd
    }
}

/// What numbers there are.
package struct EventSpan: Hashable, Sendable {
    /// The oldest event that is kept; one more than `newest` where there is none.
    package var oldest: UInt64
    /// The newest event; zero before the first.
    package var newest: UInt64

    package init(oldest: UInt64, newest: UInt64) {
        self.oldest = oldest
        self.newest = newest
    }
}

/// How far somebody has read, and what else that reader wants to find again.
package struct EventCursor: Hashable, Sendable {
    /// The reader's name, such as `webhook/shop`.
    package var name: String
    /// The last event it is done with.
    package var seq: UInt64
    /// The reader's own business, 64 KiB at most.
    package var note: [UInt8]

    package init(name: String, seq: UInt64, note: [UInt8] = []) {
        self.name = name
        self.seq = seq
        self.note = note
    }
}

/// Why events cannot be read or kept.
package enum HistoryError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Events behind the given number were dropped already; `oldest` is the first that is left.
    case tooOld(oldest: UInt64)
    /// History is switched off.
    case off
    /// The database does not work, in words.
    case broken(String)

    package var description: String {
        switch self {
        case .tooOld(let oldest): "the events asked for are gone; the oldest is \(oldest)"
        case .off: "history is off"
        case .broken(let text): text
        }
    }
}

/// Where events are read.
///
/// Any thread may call; what says that it blocks must not be called on an event loop.
package protocol EventReader: AnyObject, Sendable {
    /// The numbers that there are. Cheap.
    var span: EventSpan { get }

    /// Events behind a number, oldest first, those that fit `filter`. Blocks.
    ///
    /// - Parameters:
    ///   - seq: zero for all that are kept.
    ///   - limit: of events given back; it also stops after looking at so many that do not fit that others should have their turn.
    /// - Throws: ``HistoryError/tooOld(oldest:)`` when an event right behind `seq` was dropped; with `seq` zero never.
    func events(after seq: UInt64, matching filter: EventFilter, atMost limit: Int) throws(HistoryError) -> EventPage

    /// Waits until there is an event behind a number. Blocks.
    ///
    /// - Parameter milliseconds: at most.
    /// - Returns: whether there is one.
    func wait(behind seq: UInt64, atMost milliseconds: Int) -> Bool

    /// Calls `body` on some thread, soon after events were added; it must not block. Until the returned token is let go of.
    func onNews(_ body: @escaping @Sendable () -> Void) -> NewsToken

    /// A reader's place; nil when it never kept one. Blocks.
    func cursor(_ name: String) throws(HistoryError) -> EventCursor?

    /// All places whose names begin so. Blocks.
    func cursors(named prefix: String) throws(HistoryError) -> [EventCursor]

    /// Keeps a reader's place over restarts. Blocks.
    ///
    /// After a power cut it may be an older one, never a newer: events come twice then, with the same ids.
    func keep(_ cursor: EventCursor) throws(HistoryError)

    /// Forgets a reader. Blocks.
    func forgetCursor(_ name: String) throws(HistoryError)

    /// Adds an event of the readers' own, such as `webhook.disabled`, behind the newest one. Blocks.
    func add(_ type: EventType, _ data: EventData, at time: Timestamp) throws(HistoryError)
}

/// Stands for a listener of ``EventReader/onNews(_:)``.
package final class NewsToken: Sendable {
    private let end: @Sendable () -> Void

    package init(_ end: @escaping @Sendable () -> Void) { self.end = end }

    deinit { end() }
}
