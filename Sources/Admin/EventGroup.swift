// EventGroup.swift — a stretch of events as streams have them: decoded and encoded once, shared by all who want a part of it.

import History
import JSON

/// Events whose numbers lie in one stretch of ``size``.
struct EventGroup: Sendable {
    /// Numbers of a group.
    static let size: UInt64 = 256

    /// The stretch: numbers `number * size + 1 … (number + 1) * size`.
    let number: UInt64
    /// Everything up to here was read.
    private(set) var last: UInt64
    private(set) var events: [Event] = []
    /// All of them, one behind the other, each as ``encode(_:)`` gives it.
    private(set) var bytes: [UInt8] = []
    /// Where each of them ends.
    private var ends: [Int] = []

    init(_ number: UInt64) {
        self.number = number
        last = number * Self.size
    }

    /// The group of an event.
    static func number(of seq: UInt64) -> UInt64 { (max(seq, 1) - 1) / size }

    /// The last number of the stretch.
    var end: UInt64 { (number + 1) * Self.size }

    var isWhole: Bool { last == end }

    /// Adds what was read behind ``last``.
    mutating func add(_ page: EventPage) {
        for event in page.events where event.seq > last && event.seq <= end {
            events.append(event)
            Self.encode(event, to: &bytes)
            ends.append(bytes.count)
        }
        last = max(last, min(end, page.last))
    }

    /// The place of the first event behind a number.
    func place(behind seq: UInt64) -> Int {
        var (low, high) = (0, events.count)
        while low < high {
            let middle = (low + high) / 2
            if events[middle].seq > seq { high = middle } else { low = middle + 1 }
        }
        return low
    }

    /// One of them.
    func bytes(at place: Int) -> ArraySlice<UInt8> { bytes[(place == 0 ? 0 : ends[place - 1])..<ends[place]] }

    /// How many from a place on come to at least so many bytes, or all.
    func count(from place: Int, reaching size: Int) -> Int {
        let start = place == 0 ? 0 : ends[place - 1]
        let reached = ends[place...].firstIndex { $0 - start >= size }
        return (reached.map { $0 + 1 } ?? ends.count) - place
    }

    /// So many of them from a place on, as they lie here.
    func bytes(from place: Int, count: Int) -> ArraySlice<UInt8> {
        guard count > 0 else { return [] }
        return bytes[(place == 0 ? 0 : ends[place - 1])..<ends[place + count - 1]]
    }

    /// An event as a stream has it.
    ///
    /// - Source: HTML, server-sent events
    static func encode(_ event: Event, to bytes: inout [UInt8]) {
        bytes += "id: \(event.id)\nevent: \(event.type.name)\ndata: ".utf8
        event.json.write(to: &bytes)
        bytes += [0x0A, 0x0A]
    }
}
