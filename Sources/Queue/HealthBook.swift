// HealthBook.swift — how each address of ours fares with each provider: the records, and which lanes they are of. A value.

package import Mail

/// Where a record stands.
struct HealthNumber: Handle {
    let number: Int32

    init(place: Int) { number = Int32(place) }

    var place: Int { Int(number) }

    /// None.
    static let null = HealthNumber(place: -1)
}

/// An address of ours, and whom it writes to.
struct HealthKey: Hashable, Sendable {
    /// The first of each family that mail leaves from together.
    let addresses: [IPAddress]
    /// A provider, or a next hop that is of none.
    let place: String
}

/// Every record, by address and place.
struct HealthBook: Sendable {
    /// Records that there are at most; what comes beyond is not told apart.
    private static let most = 10_000
    /// Milliseconds between two looks for those that may be forgotten.
    private static let sweepPause: Int64 = 60_000

    struct Entry: Sendable {
        let key: HealthKey
        var record = SourceRecord()
        /// Lanes that name it.
        var members = 0
        var isUnwell = false
    }

    var entries = HandleTable<HealthNumber, Entry>()
    private var index: [HealthKey: HealthNumber] = [:]
    /// Those that are unwell; few.
    var unwell: Set<HealthNumber> = []
    private var sweepsAt = 1024
    private var sweptAt = Uptime(milliseconds: -Self.sweepPause)

    var all: some Collection<HealthNumber> { index.values }

    /// One more lane names it; nil: there are too many.
    mutating func join(_ key: HealthKey) -> HealthNumber {
        if let number = index[key] {
            entries[number].members += 1
            return number
        }
        guard index.count < Self.most else { return .null }
        var entry = Entry(key: key)
        entry.members = 1
        let number = entries.add(entry)
        index[key] = number
        return number
    }

    /// A lane names it no longer.
    mutating func leave(_ number: HealthNumber) { if number != .null { entries[number].members -= 1 } }

    func known(_ key: HealthKey) -> Entry? { index[key].map { entries[$0] } }

    /// Forgets what nobody would miss, when there is much.
    mutating func sweep(at now: Uptime) {
        guard index.count >= sweepsAt, now.milliseconds(since: sweptAt) >= Self.sweepPause else { return }
        sweptAt = now
        for (key, number) in index
        where entries[number].members == 0 && entries[number].record.counts(at: now).total == 0 {
            index[key] = nil
            unwell.remove(number)
            entries.giveBack(number)
        }
        sweepsAt = min(Self.most, max(1024, index.count * 2))
    }
}

/// How one address of ours fares with one provider: what is shown.
package struct SourceHealth: Hashable, Sendable {
    package let addresses: [IPAddress]
    /// A provider of `limits.ini`, or a next hop that is of none.
    package let place: String
    package let counts: SourceRecord.Counts
    package let isWell: Bool
    /// When it is tried again; nil: it is well.
    package let until: Uptime?
    /// The last block; empty: none.
    package let said: String
}
