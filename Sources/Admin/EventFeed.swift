// EventFeed.swift — events for many who follow them at once: decoded and encoded once, whoever asks.
//
// Guarantees: what several followers want they get from the same bytes; only what somebody wants is read, so that followers
// who are behind do not make the relay encode what they have no room for. All of them together get a bounded number of
// pieces and of bytes a second, and a share of a processor for what must be read for them: two hundred followers of
// everything fall behind rather than take from mail; what they missed is kept and comes later.

package import History
import JSON
import Mail
import Synchronization

/// Stretches of events, encoded.
package final class EventFeed: Sendable {
    private struct State: Sendable {
        var groups: [UInt64: (group: EventGroup, used: UInt64)] = [:]
        var clock: UInt64 = 0
        var streams = 0
        var isClosed = false
    }

    /// A piece of a stream.
    struct Piece: Sendable {
        var bytes: [UInt8] = []
        /// Everything up to here was looked at.
        var last: UInt64
        /// There was more than a piece, or it could not be read now.
        var isCut = false
    }

    /// Groups in memory, and bytes of them.
    private static let mostGroups = 16
    private static let mostBytes = 4 << 20
    /// For all streams together: bytes a second, and pieces a second.
    private static let bytesPerSecond = 4 << 20
    static let piecesPerSecond = 200
    /// Milliseconds between two pieces of a stream, at least.
    static let shortestGap: Int64 = 250
    private static let pieces = 4 << 10...512 << 10
    /// Groups that one piece looks at.
    private static let looks = 16
    /// Followers that search the history at once.
    private static let readers = 4

    let reader: any EventReader
    private let state = Mutex(State())
    /// Who makes a group holds it: the others wait, and find it made.
    private let making: Mutex<Ration>
    private let reading = Mutex(0)

    package init(_ reader: any EventReader) {
        self.reader = reader
        making = Mutex(Ration())
    }

    init(_ reader: any EventReader, _ ration: Ration) {
        self.reader = reader
        making = Mutex(ration)
    }

    /// Streams end soon.
    package func close() { state.withLock { $0.isClosed = true } }

    var isClosed: Bool { state.withLock { $0.isClosed } }

    /// Streams open now.
    package var count: Int { state.withLock { $0.streams } }

    func enter() { state.withLock { $0.streams += 1 } }

    func leave() { state.withLock { $0.streams -= 1 } }

    /// Milliseconds between two pieces of a stream now.
    var gap: Int64 { Self.gap(count) }

    private static func gap(_ streams: Int) -> Int64 {
        max(shortestGap, Int64(streams) * 1000 / Int64(piecesPerSecond))
    }

    /// Bytes of a piece now.
    private static func size(_ streams: Int) -> Int {
        let size = bytesPerSecond / 1000 * Int(gap(streams)) / max(streams, 1)
        return min(max(size, pieces.lowerBound), pieces.upperBound)
    }

    /// What comes behind a number, as much as a piece holds; blocks.
    ///
    /// - Throws: when it is gone, or cannot be read.
    func piece(after seq: UInt64, _ filter: EventFilter) throws(HistoryError) -> Piece {
        // One message is found by its number, without looking at the others.
        if filter.message != nil { return try searched(after: seq, filter) }
        let (size, span, wantsAll) = (Self.size(count), reader.span, filter == EventFilter())
        if seq > 0, seq + 1 < span.oldest { throw .tooOld(oldest: span.oldest) }
        var piece = Piece(last: max(seq, span.oldest - 1))
        for _ in 0..<Self.looks {
            guard piece.last < span.newest else { return piece }
            guard let group = try group(behind: piece.last, span) else { break }
            let place = group.place(behind: piece.last)
            if wantsAll {
                let count = group.count(from: place, reaching: size - piece.bytes.count)
                piece.bytes += group.bytes(from: place, count: count)
                guard place + count == group.events.count else {
                    piece.last = group.events[place + count - 1].seq
                    break
                }
            } else {
                for index in place..<group.events.count where filter.fits(group.events[index]) {
                    piece.bytes += group.bytes(at: index)
                }
            }
            piece.last = max(piece.last, group.last)
            if piece.bytes.count >= size { break }
        }
        piece.isCut = piece.last < span.newest
        return piece
    }

    /// The newest events that fit, oldest first, and how many were passed over; blocks.
    ///
    /// For people who look on: who must have all of them reads ``piece(after:_:)``.
    /// - Parameters:
    ///   - seq: what is known already.
    ///   - limit: of events.
    ///   - looks: groups that are looked at.
    /// - Returns: `leftOut` counts what was not looked at, and what fit and was too much.
    func newest(
        after seq: UInt64,
        _ filter: EventFilter,
        atMost limit: Int,
        looking looks: Int
    ) throws(HistoryError) -> (events: [ArraySlice<UInt8>], last: UInt64, leftOut: UInt64) {
        let span = reader.span
        var (found, leftOut): ([ArraySlice<UInt8>], UInt64) = ([], 0)
        var from = max(seq, span.oldest - 1)
        leftOut = from - seq
        guard span.newest > from else { return ([], max(seq, span.newest), leftOut) }
        // The last whole group and the one that is begun, where there was more than can be looked at.
        let first = EventGroup.number(of: span.newest) - min(UInt64(looks - 1), EventGroup.number(of: span.newest))
        if from < first * EventGroup.size {
            leftOut += first * EventGroup.size - from
            from = first * EventGroup.size
        }
        while from < span.newest, let group = try group(behind: from, span), group.last > from {
            for index in group.place(behind: from)..<group.events.count where filter.fits(group.events[index]) {
                found.append(Self.data(group.bytes(at: index)))
            }
            from = group.last
        }
        if from < span.newest { leftOut += span.newest - from }
        let surplus = max(0, found.count - limit)
        return (Array(found.dropFirst(surplus)), max(from, span.newest), leftOut + UInt64(surplus))
    }

    /// The event alone, without what a stream puts around it.
    private static func data(_ record: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        // Its line is the third, and nothing in it breaks a line.
        let lines = record.split(separator: 0x0A, maxSplits: 3)
        return lines.count > 2 ? lines[2].dropFirst("data: ".utf8.count) : []
    }

    // MARK: - Groups

    /// The group that holds what comes behind a number; nil: it must not be made now.
    private func group(behind seq: UInt64, _ span: EventSpan) throws(HistoryError) -> EventGroup? {
        let number = EventGroup.number(of: seq + 1)
        if let known = known(number, behind: seq) { return known }
        return try making.withLock { ration throws(HistoryError) in
            // Who held it before may have made it.
            if let known = known(number, behind: seq) { return known }
            guard ration.allows(at: .now()) else { return nil }
            let began = Ration.used
            defer { ration.spend(Ration.used - began) }
            var group = state.withLock { $0.groups[number]?.group } ?? EventGroup(number)
            let page = try reader.events(
                after: max(group.last, span.oldest - 1),
                matching: EventFilter(),
                atMost: Int(group.end - group.last)
            )
            group.add(page)
            let made = group
            state.withLock { Self.keep(made, &$0) }
            return group.last > seq ? group : nil
        }
    }

    /// A group that has something behind a number.
    ///
    /// What has come meanwhile is added when somebody has had all that is there: once for all.
    private func known(_ number: UInt64, behind seq: UInt64) -> EventGroup? {
        state.withLock { state in
            guard let known = state.groups[number]?.group, known.last > seq else { return nil }
            state.clock += 1
            state.groups[number]?.used = state.clock
            return known
        }
    }

    private static func keep(_ group: EventGroup, _ state: inout State) {
        state.clock += 1
        state.groups[group.number] = (group, state.clock)
        var bytes = state.groups.values.reduce(0) { $0 + $1.group.bytes.count }
        while state.groups.count > 1, state.groups.count > mostGroups || bytes > mostBytes,
            let oldest = state.groups.min(by: { $0.value.used < $1.value.used })
        {
            bytes -= oldest.value.group.bytes.count
            state.groups[oldest.key] = nil
        }
    }

    // MARK: - Searching

    /// What comes behind a number and fits, found by the history itself.
    private func searched(after seq: UInt64, _ filter: EventFilter) throws(HistoryError) -> Piece {
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
            EventGroup.encode(event, to: &piece.bytes)
            piece.last = event.seq
        }
        piece.last = max(piece.last, page.last)
        piece.isCut = !page.isAtEnd
        return piece
    }
}
