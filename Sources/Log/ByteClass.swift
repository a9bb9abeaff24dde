// ByteClass.swift — what a value needs before it may stand in a line, decided eight bytes at a time.

/// How a value may be written.
enum ByteClass {
    /// As it is.
    case bare
    /// As it is, between quotes: it has a space or `=`.
    case spaced
    /// Byte by byte: it has a control character, a quote, a backslash, or something outside ASCII.
    case other

    init(of bytes: UnsafeRawBufferPointer) {
        var isSpaced = false
        var index = 0
        while index &+ 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            if Self.hasOther(word) {
                self = .other
                return
            }
            isSpaced = isSpaced || Self.isSpaced(word)
            index &+= 8
        }
        if index < bytes.count {
            // The rest, filled up with a harmless letter.
            var word: UInt64 = 0x6161_6161_6161_6161
            while index < bytes.count {
                word = word << 8 | UInt64(bytes[index])
                index &+= 1
            }
            if Self.hasOther(word) {
                self = .other
                return
            }
            isSpaced = isSpaced || Self.isSpaced(word)
        }
        self = isSpaced ? .spaced : .bare
    }

    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highs: UInt64 = 0x8080_8080_8080_8080

    /// Not zero when some byte of the word is zero (the well-known trick of strlen).
    @inline(__always)
    private static func zeros(_ word: UInt64) -> UInt64 { (word &- ones) & ~word & highs }

    @inline(__always)
    private static func hasOther(_ word: UInt64) -> Bool {
        let controls = (word &- ones &* 0x20) & ~word & highs
        let marks = zeros(word ^ ones &* 0x22) | zeros(word ^ ones &* 0x5C) | zeros(word ^ ones &* 0x7F)
        return word & highs | controls | marks != 0
    }

    @inline(__always)
    private static func isSpaced(_ word: UInt64) -> Bool {
        zeros(word ^ ones &* 0x20) | zeros(word ^ ones &* 0x3D) != 0
    }
}
