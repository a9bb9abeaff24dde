// ContentScan.swift — one pass over message content that finds what must not be there, at the speed of memory.
//
// The loop looks at each octet with its successor and only ORs bytes together, which the optimiser turns into vector
// code: checking costs less than copying.

/// What was seen in message content so far.
struct ContentScan: Sendable {
    /// Octets that are looked at before the findings are.
    static let block = 256

    /// Bit 0: a CR without LF, or an LF without CR.
    private var bare: UInt8 = 0
    private var null: UInt8 = 0
    private var union: UInt8 = 0

    /// No bare CR, no bare LF and no NUL so far.
    var isClean: Bool { bare | null == 0 }
    var isEightBit: Bool { union & 0x80 != 0 }

    /// Notes a bare CR or LF that was found by other means.
    mutating func noteBare() { bare = 1 }

    /// Looks at one octet whose neighbours are looked after elsewhere.
    mutating func note(_ byte: UInt8) {
        null |= byte == 0 ? 1 : 0
        union |= byte
    }

    /// Looks at `count` octets, each paired with its successor: `count + 1` octets are readable.
    ///
    /// - Returns: whether some LF is followed by a dot.
    @inline(__always)
    mutating func addPairs(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        var (bare, null, union, dots) = (self.bare, self.null, self.union, UInt8(0))
        for index in 0..<count {
            let (this, next) = (bytes[index], bytes[index &+ 1])
            let isLF: UInt8 = this == 0x0A ? 1 : 0
            bare |= (this == 0x0D ? 1 : 0) ^ (next == 0x0A ? 1 : 0)
            dots |= isLF & (next == 0x2E ? 1 : 0)
            null |= this == 0 ? 1 : 0
            union |= this
        }
        (self.bare, self.null, self.union) = (bare, null, union)
        return dots != 0
    }
}
