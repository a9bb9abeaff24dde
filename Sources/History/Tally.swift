// Tally.swift — counts of what became of mail, by the hour and by what people ask for: tag, user, route, provider. Pure.
//
// Guarantees: bounded, whatever passes: so many names an hour and a kind, everything else is counted as others; delays are
// counted in classes, none wider than a quarter of its value.

package import Mail

/// What numbers are told apart by.
package enum TallyKind: UInt8, Hashable, Sendable, CaseIterable {
    /// The header field that `events.ini` names.
    case tag = 0
    /// Who logged in.
    case user
    /// The section of `routes.ini`, or the domain.
    case route
    /// The hosts that took or refused it, without the first label of their name.
    case provider

    /// As in queries.
    package var name: String { "\(self)" }
}

/// Counts of one name.
package struct Tally: Hashable, Sendable {
    /// Messages; of a tag or a user.
    package var accepted = 0
    /// Recipients; the same one may be deferred many times.
    package var delivered = 0
    package var deferred = 0
    package var suppressed = 0
    package var bounced: [FailureReason: Int] = [:]
    /// Deliveries by the time since their message was accepted.
    package var delays = DelayCounts()

    package init() {}

    package var isEmpty: Bool { self == Tally() }

    /// Of all reasons.
    package var bouncedTotal: Int { bounced.values.reduce(0, +) }

    /// Adds what another one counted.
    package mutating func add(_ other: Tally) {
        accepted += other.accepted
        delivered += other.delivered
        deferred += other.deferred
        suppressed += other.suppressed
        bounced.merge(other.bounced, uniquingKeysWith: +)
        delays.add(other.delays)
    }

    mutating func deliver(_ count: Int, after milliseconds: Int64) {
        delivered += count
        delays.add(count, in: Self.delayClass(milliseconds))
    }

    /// Four classes from each power of two to the next.
    static func delayClass(_ milliseconds: Int64) -> UInt8 {
        let value = UInt64(max(4, min(milliseconds, 1 << 40)))
        let power = 63 - value.leadingZeroBitCount
        return UInt8((power - 2) * 4 + Int(value >> UInt64(power - 2) & 3))
    }

    /// The greatest delay of a class, milliseconds.
    static func end(ofDelayClass number: UInt8) -> Int64 {
        let (power, quarter) = (Int64(number / 4), Int64(number % 4))
        return (4 + quarter + 1) << power - 1
    }

    /// The delay that so many of a hundred deliveries did not exceed: milliseconds, up to a quarter too much; nil: no delivery.
    package func delay(percent: Int) -> Int64? {
        let total = delays.total
        guard total > 0 else { return nil }
        let wanted = (total * percent + 99) / 100
        var seen = 0
        for (number, count) in delays {
            seen += count
            if seen >= wanted { return Self.end(ofDelayClass: number) }
        }
        return nil
    }
}

/// How many deliveries fell into each class of delay; goes through those that are not zero, rising.
package struct DelayCounts: Hashable, Sendable, Sequence {
    /// As long as the highest class wants it, so that equal counts are equal values.
    private var counts: [Int] = []

    var total: Int { counts.reduce(0, +) }

    /// How many are not zero.
    var classes: Int { counts.count { $0 != 0 } }

    mutating func add(_ count: Int, in number: UInt8) {
        guard count != 0 else { return }
        while counts.count <= Int(number) { counts.append(0) }
        counts[Int(number)] += count
    }

    mutating func add(_ other: DelayCounts) { for (number, count) in other { add(count, in: number) } }

    /// Those that are not zero, rising.
    package func makeIterator() -> some IteratorProtocol<(number: UInt8, count: Int)> {
        counts.enumerated().lazy.filter { $0.element != 0 }.map { (number: UInt8($0.offset), count: $0.element) }
            .makeIterator()
    }
}

/// Tallies of many names.
package struct TallySheet: Sendable {
    /// Names that are counted by themselves, of an hour and a kind.
    static let mostNames = 1_000
    /// Longer names are cut.
    static let longestName = 255

    /// Whose name is empty is everybody else.
    struct Key: Hashable, Sendable {
        let kind: TallyKind
        let name: String
    }

    private(set) var rows: [Key: Tally] = [:]
    private var counts: [TallyKind: Int] = [:]
    /// Whose row was changed last, of each kind: the next one is often the same.
    private var lately = TallySheet.nothingLately
    private static let nothingLately = [Recent?](repeating: nil, count: TallyKind.allCases.count)

    private struct Recent {
        var name: [UInt8]
        var row: Dictionary<Key, Tally>.Index
    }

    package init() {}

    var isEmpty: Bool { rows.isEmpty }

    /// Changes what is counted of a name.
    ///
    /// - Parameter name: UTF-8.
    mutating func with(_ kind: TallyKind, _ name: UnsafeRawBufferPointer, _ change: (inout Tally) -> Void) {
        if let recent = lately[Int(kind.rawValue)], recent.name.count == name.count,
            recent.name.withUnsafeBytes({ $0.elementsEqual(name) })
        {
            return change(&rows.values[recent.row])
        }
        let row = row(kind, String(decoding: name, as: UTF8.self))
        lately[Int(kind.rawValue)] = Recent(name: Array(name), row: row)
        change(&rows.values[row])
    }

    mutating func with(_ kind: TallyKind, _ name: String, _ change: (inout Tally) -> Void) {
        change(&rows.values[row(kind, name)])
    }

    /// Where a name is counted; what came before is somewhere else then, if it is new.
    private mutating func row(_ kind: TallyKind, _ name: String) -> Dictionary<Key, Tally>.Index {
        var key = Key(kind: kind, name: name)
        if let row = rows.index(forKey: key) { return row }
        if !name.isEmpty {
            let count = counts[kind, default: 0]
            if count < Self.mostNames { counts[kind] = count + 1 } else { key = Key(kind: kind, name: "") }
            if let row = rows.index(forKey: key) { return row }
        }
        rows[key] = Tally()
        lately = Self.nothingLately
        return rows.index(forKey: key) ?? rows.startIndex
    }

    /// Adds what another sheet counted.
    mutating func add(_ other: TallySheet) {
        // The busiest names first: they are those that keep a row when there are too many.
        let rows = other.rows.count > Self.mostNames ? other.rows.sorted(by: Self.isBusier) : Array(other.rows)
        for (key, tally) in rows { with(key.kind, key.name) { $0.add(tally) } }
    }

    private static func isBusier(_ a: (key: Key, value: Tally), _ b: (key: Key, value: Tally)) -> Bool {
        let (left, right) = (a.value.accepted + a.value.delivered, b.value.accepted + b.value.delivered)
        return left == right ? a.key.name < b.key.name : left > right
    }

    /// The names of a kind with their counts, the busiest first, and everybody else's.
    package func list(_ kind: TallyKind) -> (named: [(name: String, tally: Tally)], others: Tally) {
        var named: [(key: Key, value: Tally)] = []
        var others = Tally()
        for (key, tally) in rows where key.kind == kind {
            if key.name.isEmpty { others.add(tally) } else { named.append((key, tally)) }
        }
        return (named.sorted(by: Self.isBusier).map { ($0.key.name, $0.value) }, others)
    }
}

// MARK: - Bytes

/// Layout: count and rows; a row: kind, name, accepted, delivered, deferred, suppressed, bounces by reason, delays by class.
extension TallySheet {
    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(compact: UInt64(rows.count))
        for (key, tally) in rows {
            bytes.append(key.kind.rawValue)
            bytes.append(string: key.name, atMost: Self.longestName)
            for count in [tally.accepted, tally.delivered, tally.deferred, tally.suppressed] {
                bytes.append(compact: UInt64(clamping: count))
            }
            bytes.append(compact: UInt64(tally.bounced.count))
            for (reason, count) in tally.bounced {
                bytes.append(reason.rawValue)
                bytes.append(compact: UInt64(clamping: count))
            }
            bytes.append(compact: UInt64(tally.delays.classes))
            for (number, count) in tally.delays {
                bytes.append(number)
                bytes.append(compact: UInt64(clamping: count))
            }
        }
        return bytes
    }

    /// Adds what was encoded; what makes no sense is left out.
    mutating func add(encoded bytes: [UInt8]) {
        bytes.withUnsafeBytes { raw in
            var reader = StoredReader(raw)
            guard let count = try? reader.count() else { return }
            for _ in 0..<count {
                guard let (key, tally) = try? Self.row(&reader) else { return }
                if let key { with(key.kind, key.name) { $0.add(tally) } }
            }
        }
    }

    private static func row(_ reader: inout StoredReader) throws(Malformed) -> (Key?, Tally) {
        let kind = TallyKind(rawValue: try reader.byte())
        let name = try reader.string()
        var tally = Tally()
        tally.accepted = Int(clamping: try reader.compact32())
        tally.delivered = Int(clamping: try reader.compact32())
        tally.deferred = Int(clamping: try reader.compact32())
        tally.suppressed = Int(clamping: try reader.compact32())
        for _ in 0..<(try reader.count()) {
            let reason = FailureReason(rawValue: try reader.byte()) ?? .other
            tally.bounced[reason, default: 0] += Int(try reader.compact32())
        }
        for _ in 0..<(try reader.count()) {
            let number = try reader.byte()
            tally.delays.add(Int(try reader.compact32()), in: number)
        }
        return (kind.map { Key(kind: $0, name: name) }, tally)
    }
}
