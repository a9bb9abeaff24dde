// EventFeed.swift — events for many who follow them at once: read and encoded once, whoever asks.
//
// Guarantees: followers that keep up are served from memory, where the newest events lie encoded; those that are behind read
// the history, a few at a time. All of them together get a bounded number of bytes a second, so that two hundred
// followers of everything fall behind rather than take from mail; what they missed is kept and comes later.

package import History
import JSON
import Synchronization

/// The newest events, encoded.
package final class EventFeed: Sendable {
    private struct Encoded: Sendable {
        let event: Event
        let bytes: [UInt8]
    }

    private struct State: Sendable {
        var ring: [Encoded] = []
        /// Everything up to here was read into the ring.
        var last: UInt64 = 0
        var streams = 0
        var isClosed = false
    }

    /// A piece of a stream.
    struct Piece: Sendable {
        var bytes: [UInt8] = []
        /// Everything up to here was looked at.
        var last: UInt64
        /// There was more than a piece.
        var isCut = false
    }

    /// Events in memory, and bytes of them.
    private static let mostEvents = 4096
    private static let mostBytes = 4 << 20
    /// Bytes a second for all streams together, and pieces a second of each.
    private static let bytesPerSecond = 8 << 20
    static let piecesPerSecond = 4
    private static let pieces = 4 << 10...512 << 10
    /// Followers that read the history at once.
    private static let readers = 4

    let reader: any EventReader
    private let state = Mutex(State())
    private let reading = Mutex(0)

    package init(_ reader: any EventReader) { self.reader = reader }

    /// Streams end soon.
    package func close() { state.withLock { $0.isClosed = true } }

    var isClosed: Bool { state.withLock { $0.isClosed } }

    /// Streams open now.
    package var count: Int { state.withLock { $0.streams } }

    func enter() { state.withLock { $0.streams += 1 } }

    func leave() { state.withLock { $0.streams -= 1 } }

    /// Bytes of a piece now.
    private static func size(_ streams: Int) -> Int {
        min(max(bytesPerSecond / piecesPerSecond / max(streams, 1), pieces.lowerBound), pieces.upperBound)
    }

    /// What comes behind a number, as much as a piece holds; blocks.
    ///
    /// - Throws: when it is gone, or cannot be read.
    func piece(after seq: UInt64, _ filter: EventFilter) throws(HistoryError) -> Piece {
        if filter.isOfTypesAlone, let piece = try recent(after: seq, filter) { return piece }
        guard
            reading.withLock({ count in
                guard count < Self.readers else { return false }
                count += 1
                return true
            })
        else { return Piece(last: seq, isCut: true) }
        defer { reading.withLock { $0 -= 1 } }
        let size = Self.size(count)
        let page = try reader.events(after: seq, matching: filter, atMost: 200)
        var piece = Piece(last: seq)
        for event in page.events {
            guard piece.bytes.count < size else {
                piece.isCut = true
                return piece
            }
            piece.bytes += Self.encode(event)
            piece.last = event.seq
        }
        piece.last = max(piece.last, page.last)
        piece.isCut = !page.isAtEnd
        return piece
    }

    /// The same from memory; nil: it is not there.
    private func recent(after seq: UInt64, _ filter: EventFilter) throws(HistoryError) -> Piece? {
        try state.withLock { state throws(HistoryError) in
            try fill(&state)
            guard let first = state.ring.first?.event.seq, seq + 1 >= first else {
                return state.last <= seq ? Piece(last: seq) : nil
            }
            let size = Self.size(state.streams)
            var piece = Piece(last: seq)
            let start = state.ring.partitioningIndex { $0.event.seq > seq }
            for encoded in state.ring[start...] {
                guard piece.bytes.count < size else {
                    piece.isCut = true
                    return piece
                }
                piece.last = encoded.event.seq
                if filter.types.isEmpty || filter.types.contains(encoded.event.type) { piece.bytes += encoded.bytes }
            }
            piece.last = max(piece.last, state.last)
            return piece
        }
    }

    /// Reads what is new; who comes first does it for all.
    private func fill(_ state: inout State) throws(HistoryError) {
        let newest = reader.span.newest
        guard newest > state.last else { return }
        // Nobody followed for a while: what is older than the ring is not read for it.
        if newest - state.last > UInt64(Self.mostEvents) {
            (state.ring, state.last) = ([], newest - UInt64(Self.mostEvents))
        }
        let page = try reader.events(after: state.last, matching: EventFilter(), atMost: Self.mostEvents)
        state.ring += page.events.map { Encoded(event: $0, bytes: Self.encode($0)) }
        state.last = max(state.last, page.last)
        var bytes = state.ring.reduce(0) { $0 + $1.bytes.count }
        var surplus = max(0, state.ring.count - Self.mostEvents)
        for encoded in state.ring.prefix(surplus) { bytes -= encoded.bytes.count }
        while bytes > Self.mostBytes, surplus < state.ring.count {
            bytes -= state.ring[surplus].bytes.count
            surplus += 1
        }
        state.ring.removeFirst(surplus)
    }

    /// An event as a stream has it.
    ///
    /// - Source: HTML, server-sent events
    static func encode(_ event: Event) -> [UInt8] {
        var bytes = Array("id: \(event.id)\nevent: \(event.type.name)\ndata: ".utf8)
        event.json.write(to: &bytes)
        bytes += [0x0A, 0x0A]
        return bytes
    }
}

extension EventFilter {
    /// Nothing but kinds is asked for, which memory can answer.
    fileprivate var isOfTypesAlone: Bool {
        var same = EventFilter()
        same.types = types
        return self == same
    }
}

extension Array {
    /// The first place whose element fulfils a condition that all behind it fulfil.
    fileprivate func partitioningIndex(_ isBehind: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
