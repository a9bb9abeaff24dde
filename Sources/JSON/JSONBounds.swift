// JSONBounds.swift — what reading a text may cost, said before a byte of it is spent.
//
// A text is small and its value is not: `0,` is two bytes, and the element it makes is thirty times that. So the parser
// counts what a value will take, with the growth of arrays in it, and stops in front of what would pass the bound.

/// Bounds of one text.
package struct JSONBounds: Hashable, Sendable {
    /// Levels of nesting; beyond is an attack on the stack, not data.
    package var depth = 32
    /// Values of every kind, the outermost counted and names not.
    package var values: Int
    /// Bytes that the value may take, the bytes of the text not counted.
    package var memory: Int

    /// - Parameters:
    ///   - values: how many there may be.
    ///   - memory: bytes.
    package init(values: Int, memory: Int) {
        self.values = values
        self.memory = memory
    }

    /// For what has a bound of its own in length, such as lines of our own files: 100 000 values, 16 MiB.
    package static let standard = JSONBounds(values: 100_000, memory: 16 << 20)

    // Array storage doubles, and while it grows the old one is still there.
    static let element = 3 * MemoryLayout<JSON>.stride
    static let member = 3 * MemoryLayout<JSON.Member>.stride
    /// The head of an allocation.
    static let storage = 48
    /// A name among those that are looked up by hash.
    static let name = 72

    /// Bytes of a text: short ones stand inside the value.
    static func text(_ count: Int) -> Int { count > 15 ? count + storage : 0 }
}

/// Why a text is no JSON, and where.
package struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Bytes from the start.
    package let offset: Int
    package let reason: String
    /// It may be JSON, but it passes a bound.
    package let isBeyondBounds: Bool

    package var description: String { "\(reason) at byte \(offset)" }
}
