// DistinctCount.swift — how many different things came in the last while, in bounded memory. Pure: time is passed in.
//
// Guarantees: exact while 8192 different ones or fewer are known; beyond that a sample of one in 2, 4, 8 … is kept, of 4096 at
// least, and what is said to be too much is so but for one case in 30 000 (four standard deviations); what is too much is said
// to be so before an eighth more has come. Adaptive sampling, after Wegman (Flajolet, "On adaptive sampling", 1990).

/// How many different things, each as a number, came in a window.
package struct DistinctCount: Hashable, Sendable {
    /// Those that are kept.
    package static let capacity = 8192
    private static let slices = 25

    /// One in so many powers of two is kept.
    package private(set) var level = 0
    /// By its number: the slice in which it came last.
    private var seen: [UInt64: Int64] = [:]
    /// How many came last in a slice.
    private var tally: [Int64: Int] = [:]
    /// The newest slice that something came in.
    private var newest = Int64.min
    /// Milliseconds of one; all of them are never shorter than the window, as in ``WindowCount``.
    private let slice: Int64

    /// - Parameter window: milliseconds.
    package init(window: Int64) { slice = max(1, (window + Int64(Self.slices) - 2) / Int64(Self.slices - 1)) }

    /// How many are kept.
    package var kept: Int { seen.count }

    /// How many different ones came in the window that ends now; an estimate, where ``level`` is not 0.
    package func total(at wall: Timestamp) -> Int { live(in: wall.milliseconds / slice) << level }

    /// When these may come as well; nil: now.
    ///
    /// - Parameter keys: no two alike, and as good as random numbers.
    package func opens(_ most: Int, for keys: [UInt64], at wall: Timestamp) -> Timestamp? {
        let now = wall.milliseconds / slice
        guard isTooMuch(most, keys, in: now) else { return nil }
        for later in 1...Int64(Self.slices) where !isTooMuch(most, keys, in: now + later) {
            return Timestamp(milliseconds: (now + later) * slice)
        }
        return Timestamp(milliseconds: (now + Int64(Self.slices)) * slice)
    }

    private func isTooMuch(_ most: Int, _ keys: [UInt64], in now: Int64) -> Bool {
        guard keys.contains(where: { !isKnown($0, in: now) }) else { return false }
        let live = live(in: now)
        if level == 0 { return live + keys.reduce(0) { $0 + (isKnown($1, in: now) ? 0 : 1) } > most }
        // What the sample would hold if there were as many as there may be.
        let expected = Double(most) / Double(1 << level)
        return Double(live) > expected + 4 * expected.squareRoot()
    }

    private func isKnown(_ key: UInt64, in now: Int64) -> Bool {
        seen[key].map { $0 > now - Int64(Self.slices) } ?? false
    }

    private func live(in now: Int64) -> Int {
        tally.reduce(0) { $0 + ($1.key > now - Int64(Self.slices) ? $1.value : 0) }
    }

    /// They came.
    package mutating func add(_ keys: [UInt64], at wall: Timestamp) {
        let now = max(newest, wall.milliseconds / slice)
        if now > newest { forget(before: now - Int64(Self.slices) + 1) }
        newest = now
        for key in keys { note(key, in: now) }
    }

    private mutating func note(_ key: UInt64, in now: Int64) {
        guard isSampled(key) else { return }
        if let old = seen.updateValue(now, forKey: key) { lower(old) }
        tally[now, default: 0] += 1
        while seen.count > Self.capacity {
            level += 1
            let zeros = level
            keep { $0.key.leadingZeroBitCount >= zeros }
        }
    }

    private func isSampled(_ key: UInt64) -> Bool { level == 0 || key.leadingZeroBitCount >= level }

    private mutating func lower(_ number: Int64) {
        guard let count = tally[number] else { return }
        tally[number] = count > 1 ? count - 1 : nil
    }

    private mutating func forget(before oldest: Int64) {
        guard tally.contains(where: { $0.key < oldest }) else { return }
        keep { $0.value >= oldest }
        if seen.isEmpty { level = 0 }
    }

    private mutating func keep(_ condition: ((key: UInt64, value: Int64)) -> Bool) {
        seen = seen.filter { condition(($0.key, $0.value)) }
        tally = [:]
        for number in seen.values { tally[number, default: 0] += 1 }
    }
}

// MARK: - Written down

extension DistinctCount {
    /// Eight octets of each, and how many slices ago it came.
    package var stored: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(seen.count * 9)
        for (key, number) in seen where newest - number < Int64(Self.slices) {
            for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: key >> shift)) }
            bytes.append(UInt8(newest - number))
        }
        return bytes
    }

    /// When it was last added to, in slices since 1970.
    package var storedAt: Int64 { newest }

    /// As it was written down; what makes no sense is left out.
    ///
    /// - Parameters:
    ///   - newest: no later than now, whatever was written.
    ///   - window: milliseconds.
    package init(_ stored: [UInt8], level: Int, newest: Int64, window: Int64, at wall: Timestamp) {
        self.init(window: window)
        self.level = min(max(0, level), 40)
        self.newest = min(newest, wall.milliseconds / slice)
        var place = 0
        while place + 9 <= stored.count, seen.count < Self.capacity {
            let key = stored[place..<place + 8].reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
            let age = Int64(stored[place + 8])
            if age < Int64(Self.slices), isSampled(key) { seen[key] = self.newest - age }
            place += 9
        }
        keep { _ in true }
    }
}
