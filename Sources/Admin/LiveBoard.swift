// LiveBoard.swift — what changes by itself, as everybody who looks on gets it: made once for all of them.
//
// A sheet is what a topic's GET answers, or the newest events that fit a filter. It is made when somebody who looks on is due
// and the last one is old; whoever comes meanwhile gets the last one.
//
// Guarantees: what onlookers cost does not grow with their number but for the bytes on their way; nobody waits while
// another makes a sheet; filters, sheets and events of a sheet are bounded.

import History
import JSON
import Mail
import Synchronization

/// Sheets for all who look on.
package final class LiveBoard: Sendable {
    /// What a topic says.
    struct Sheet: Hashable, Sendable {
        /// Rises when it says something else.
        var version: UInt64
        /// A record of server-sent events.
        let bytes: [UInt8]
    }

    private struct Slot: Sendable {
        var sheet: Sheet?
        /// When the last one was made, and when the next one may be.
        var made = Uptime(milliseconds: .min / 2)
        var next = Uptime(milliseconds: .min / 2)
        var isMaking = false
    }

    private struct Strip: Sendable {
        var sheets: [Sheet] = []
        /// Events up to here were told or passed over.
        var last: UInt64
        var next = Uptime(milliseconds: .min / 2)
        var isMaking = false
        var version: UInt64 = 0
        var readers = 0
    }

    private struct State: Sendable {
        var slots: [LiveTopic: Slot] = [:]
        var strips: [String: Strip] = [:]
        var streams = 0
        var isClosed = false
    }

    /// Filters that are followed at once.
    static let mostFilters = 32
    /// Events of a sheet, and milliseconds between two.
    static let mostEvents = 50
    static let eventPeriod: Int64 = 1000
    /// Milliseconds between two sheets of a topic, at least.
    private static let shortest: Int64 = 500
    /// Sheets that are kept for who comes late to one.
    private static let kept = 4
    /// Groups of events that are looked at for a sheet, for everybody's and for a filter's.
    private static let looks = (all: 2, filtered: 8)

    private let state = Mutex(State())

    package init() {}

    /// Streams end soon.
    package func close() { state.withLock { $0.isClosed = true } }

    var isClosed: Bool { state.withLock { $0.isClosed } }

    /// Streams open now.
    package var count: Int { state.withLock { $0.streams } }

    // MARK: - Topics

    /// A topic as it is now; nil: somebody makes the first one.
    ///
    /// - Parameter make: its value as JSON; nil: it cannot be known now. It may block.
    func sheet(_ topic: LiveTopic, at now: Uptime, _ make: () -> [UInt8]?) -> Sheet? {
        let (known, isDue) = state.withLock { state in
            var slot = state.slots[topic] ?? Slot()
            let isDue = now >= slot.next && !slot.isMaking
            if isDue { slot.isMaking = true }
            state.slots[topic] = slot
            return (slot.sheet, isDue)
        }
        guard isDue else { return known }
        let made = make().map { Self.record(topic.rawValue, $0) }
        return state.withLock { state in
            var slot = state.slots[topic] ?? Slot()
            slot.isMaking = false
            slot.made = now
            slot.next = now.adding(milliseconds: topic.period)
            if let made, made != slot.sheet?.bytes {
                slot.sheet = Sheet(version: (slot.sheet?.version ?? 0) + 1, bytes: made)
            }
            state.slots[topic] = slot
            return slot.sheet
        }
    }

    /// Something was changed: every topic is made anew for the next who looks, though not oftener than twice a second.
    func hurry() {
        state.withLock { state in
            for (topic, slot) in state.slots {
                state.slots[topic]?.next = min(slot.next, slot.made.adding(milliseconds: Self.shortest))
            }
        }
    }

    // MARK: - Events

    /// Somebody looks on.
    ///
    /// - Parameter newest: the newest event: what came before is not told.
    /// - Returns: false when so many filters are followed that there is no room for these.
    func enter(_ filters: [String], newest: UInt64) -> Bool {
        state.withLock { state in
            let fresh = filters.count { state.strips[$0] == nil }
            guard state.strips.count + fresh <= Self.mostFilters else { return false }
            state.streams += 1
            for filter in filters { state.strips[filter, default: Strip(last: newest)].readers += 1 }
            return true
        }
    }

    /// Somebody looks on no more.
    func leave(_ filters: [String]) {
        state.withLock { state in
            state.streams -= 1
            for filter in filters {
                state.strips[filter]?.readers -= 1
                if state.strips[filter]?.readers ?? 0 <= 0 { state.strips[filter] = nil }
            }
        }
    }

    /// The version of the newest sheet of a filter.
    func version(of filter: String) -> UInt64 { state.withLock { $0.strips[filter]?.version ?? 0 } }

    /// Sheets of events behind a version.
    func sheets(
        of filter: String,
        _ wanted: EventFilter,
        after version: UInt64,
        at now: Uptime,
        _ feed: EventFeed
    ) -> [Sheet] {
        let last: UInt64? = state.withLock { state in
            guard let strip = state.strips[filter], now >= strip.next, !strip.isMaking else { return nil }
            state.strips[filter]?.isMaking = true
            return strip.last
        }
        if let last { extend(filter, wanted, after: last, at: now, feed) }
        return state.withLock { $0.strips[filter]?.sheets.filter { $0.version > version } ?? [] }
    }

    private func extend(
        _ filter: String,
        _ wanted: EventFilter,
        after last: UInt64,
        at now: Uptime,
        _ feed: EventFeed
    ) {
        let looks = wanted == EventFilter() ? Self.looks.all : Self.looks.filtered
        let found = try? feed.newest(after: last, wanted, atMost: Self.mostEvents, looking: looks)
        state.withLock { state in
            guard var strip = state.strips[filter] else { return }
            defer { state.strips[filter] = strip }
            strip.isMaking = false
            strip.next = now.adding(milliseconds: Self.eventPeriod)
            guard let found else { return }
            strip.last = found.last
            guard !found.events.isEmpty || found.leftOut > 0 else { return }
            strip.version += 1
            let bytes = Self.events(found.events, of: filter, after: last, last: found.last, leftOut: found.leftOut)
            strip.sheets.append(Sheet(version: strip.version, bytes: bytes))
            if strip.sheets.count > Self.kept { strip.sheets.removeFirst() }
        }
    }

    /// Events as they lie in memory, with what is said of them.
    private static func events(
        _ events: [ArraySlice<UInt8>],
        of filter: String,
        after: UInt64,
        last: UInt64,
        leftOut: UInt64
    ) -> [UInt8] {
        let head: JSON = [
            "q": .string(filter), "after": .count(after), "last": .count(last), "left_out": .count(leftOut),
        ]
        var bytes = Array(head.bytes.dropLast())
        bytes += #","items":["#.utf8
        for (index, event) in events.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes += event
        }
        bytes += "]}".utf8
        return record("events", bytes)
    }

    /// - Source: HTML, server-sent events; JSON as we write it breaks no line
    private static func record(_ name: String, _ data: [UInt8]) -> [UInt8] {
        Array("event: \(name)\ndata: ".utf8) + data + [0x0A, 0x0A]
    }
}
