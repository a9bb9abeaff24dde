// FakeHistory.swift — a history in memory, for readers of events under test.

import History
import Mail
import Synchronization

/// Events by their number, from 1 on.
final class FakeHistory: EventReader {
    struct State {
        var events: [Event] = []
        /// The first that is still kept.
        var oldest: UInt64 = 1
        var cursors: [String: EventCursor] = [:]
        var listeners: [Int: @Sendable () -> Void] = [:]
        var nextListener = 0
        var isBroken = false
    }

    let state = Mutex(State())

    /// Adds deliveries to these recipients, and says so.
    func deliver(to recipients: [String], type: EventType = .delivered) {
        for recipient in recipients {
            var data = EventData()
            (data.recipient, data.sender) = (recipient, "a@a.test")
            data.smtp = EventData.Words(code: 250, enhanced: EnhancedStatus(2, 0, 0), text: "taken")
            append(type, data, at: .now())
        }
        tellNews()
    }

    func append(_ type: EventType, _ data: EventData, at time: Timestamp) {
        state.withLock { state in
            let seq = UInt64(state.events.count + 1)
            state.events.append(Event(seq: seq, epoch: "e", type: type, time: time, node: "relay", data: data))
        }
    }

    func tellNews() {
        let listeners = state.withLock { Array($0.listeners.values) }
        for listener in listeners { listener() }
    }

    var span: EventSpan {
        state.withLock { EventSpan(oldest: $0.oldest, newest: UInt64($0.events.count)) }
    }

    func events(after seq: UInt64, matching filter: EventFilter, atMost limit: Int) throws(HistoryError) -> EventPage {
        let (all, oldest, isBroken) = state.withLock { ($0.events, $0.oldest, $0.isBroken) }
        guard !isBroken else { throw .broken("the disk is gone") }
        guard seq == 0 || seq + 1 >= oldest else { throw .tooOld(oldest: oldest) }
        var found: [Event] = []
        var last = seq
        for event in all where event.seq > seq && event.seq >= oldest {
            guard found.count < limit else { break }
            last = event.seq
            guard filter.types.isEmpty || filter.types.contains(event.type) else { continue }
            guard filter.since.map({ event.time >= $0 }) ?? true else { continue }
            found.append(event)
        }
        return EventPage(events: found, last: last, isAtEnd: last >= UInt64(all.count))
    }

    func wait(behind seq: UInt64, atMost milliseconds: Int) -> Bool { span.newest > seq }

    func onNews(_ body: @escaping @Sendable () -> Void) -> NewsToken {
        let number = state.withLock { state in
            state.nextListener += 1
            state.listeners[state.nextListener] = body
            return state.nextListener
        }
        return NewsToken { [weak self] in self?.state.withLock { $0.listeners[number] = nil } }
    }

    func cursor(_ name: String) throws(HistoryError) -> EventCursor? { state.withLock { $0.cursors[name] } }

    func cursors(named prefix: String) throws(HistoryError) -> [EventCursor] {
        state.withLock { $0.cursors.values.filter { $0.name.hasPrefix(prefix) } }
    }

    func keep(_ cursor: EventCursor) throws(HistoryError) { state.withLock { $0.cursors[cursor.name] = cursor } }

    func forgetCursor(_ name: String) throws(HistoryError) { state.withLock { $0.cursors[name] = nil } }

    func add(_ type: EventType, _ data: EventData, at time: Timestamp) throws(HistoryError) {
        append(type, data, at: time)
        tellNews()
    }
}
