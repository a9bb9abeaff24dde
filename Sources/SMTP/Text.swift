// Text.swift — a view of octets while a line is parsed: no copies, no `String`, no access outside.

/// Octets of a command line; lives no longer than the call that parses the line.
struct Text {
    private var bytes: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    enum Kind {
        case ascii, eightBit, hasControl
    }

    enum Number: Equatable {
        case number(Int)
        case tooLarge
        case none
    }

    var count: Int { bytes.count }
    var isEmpty: Bool { bytes.isEmpty }
    var first: UInt8? { bytes.first }

    /// The octet at an offset; NUL, which no line holds, beyond the end.
    subscript(_ offset: Int) -> UInt8 { offset < bytes.count ? bytes[offset] : 0 }

    /// Whether there are octets that are no printable ASCII.
    func kind() -> Kind {
        var control = false
        var high: UInt8 = 0
        for byte in bytes {
            control = control || byte < 0x20 || byte == 0x7F
            high |= byte
        }
        return control ? .hasControl : high & 0x80 != 0 ? .eightBit : .ascii
    }

    func dropping(_ count: Int) -> Text { range(min(count, bytes.count)..<bytes.count) }
    func prefix(_ count: Int) -> Text { range(0..<min(count, bytes.count)) }
    func range(_ range: Range<Int>) -> Text { Text(UnsafeRawBufferPointer(rebasing: bytes[range])) }

    mutating func trimEnd() {
        var end = count
        while end > 0, bytes[end - 1] == 0x20 { end -= 1 }
        if end < count { self = prefix(end) }
    }

    mutating func trimStart() {
        var start = 0
        while start < count, bytes[start] == 0x20 { start += 1 }
        if start > 0 { self = dropping(start) }
    }

    /// Without spaces at both ends.
    var trimmed: Text {
        var copy = self
        copy.trimStart()
        copy.trimEnd()
        return copy
    }

    /// The octets up to the next space, which is consumed with them.
    mutating func nextWord() -> Text {
        trimStart()
        let end = firstOffset(of: 0x20) ?? count
        let word = prefix(end)
        self = dropping(end + 1)
        return word
    }

    func firstOffset(of byte: UInt8) -> Int? { bytes.firstIndex(of: byte) }

    /// Whether the text is this word, in any case of ASCII letters.
    func equals(_ word: StaticString) -> Bool { count == word.utf8CodeUnitCount && begins(with: word) }

    /// Whether the text begins with this word, in any case of ASCII letters.
    func begins(with word: StaticString) -> Bool {
        let length = word.utf8CodeUnitCount
        guard count >= length else { return false }
        for offset in 0..<length {
            let (ours, theirs) = (bytes[offset], word.utf8Start[offset])
            if ours == theirs { continue }
            guard ours ^ theirs == 0x20, (0x61...0x7A).contains(ours | 0x20) else { return false }
        }
        return true
    }

    /// Decimal digits, at most twenty.
    func number() -> Number {
        guard !isEmpty, count <= 20 else { return .none }
        var value = 0
        var overflows = false
        for byte in bytes {
            guard (0x30...0x39).contains(byte) else { return .none }
            let (product, first) = value.multipliedReportingOverflow(by: 10)
            let (sum, second) = product.addingReportingOverflow(Int(byte - 0x30))
            overflows = overflows || first || second
            value = sum
        }
        return overflows ? .tooLarge : .number(value)
    }

    /// The text as a string; what is no UTF-8 is replaced.
    var string: String { String(decoding: bytes, as: UTF8.self) }

    /// The text as a string, or nil when it is no UTF-8.
    var validString: String? { String(validating: bytes, as: UTF8.self) }
}
