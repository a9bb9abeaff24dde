// JSONBounds.swift — what reading a text may cost, said before a byte of it is spent.
//
// A text is small and its value is not: `0,` is two bytes, and the element it makes is thirty times that. So the parser
// counts what a value will take, with the growth of arrays in it, and stops in front of what would pass the bound.

/// Whoever counts memory for several readers.
package protocol JSONPurse: Sendable {
    /// Takes bytes; false: there are no more.
    func pay(_ bytes: Int) -> Bool
}

/// Bounds of one text.
package struct JSONBounds: Sendable {
    /// Levels of nesting; beyond is an attack on the stack, not data.
    package var depth = 32
    /// Values of every kind, the outermost counted and names not.
    package var values: Int
    /// Bytes that the value may take, the bytes of the text not counted.
    package var memory: Int
    /// Asked for the memory in pieces, as it is needed; whoever gave the bounds gives it back.
    package var purse: (any JSONPurse)?

    /// - Parameters:
    ///   - values: how many there may be.
    ///   - memory: bytes.
    ///   - purse: what the memory is counted in; nil: in nothing.
    package init(values: Int, memory: Int, purse: (any JSONPurse)? = nil) {
        self.values = values
        self.memory = memory
        self.purse = purse
    }

    /// Bytes that are asked for at once.
    static let piece = 64 << 10

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
    /// What the reason is about.
    package enum Cause: Hashable, Sendable {
        case syntax
        /// It may be JSON, but it passes a bound.
        case bounds
        /// There is no memory for it now.
        case memory
    }

    /// Bytes from the start.
    package let offset: Int
    package let reason: String
    package let cause: Cause

    package var description: String { "\(reason) at byte \(offset)" }
}
