// QueueID.swift — the name of a message, from its first log line to its last.

/// 64 bits, ordered by time of acceptance, written as 13 letters and digits.
///
/// The upper 44 bits are milliseconds since 1970, the lower 20 a counter, so that ids made within one millisecond stay
/// in order. The text form is Crockford's base 32 in lower case: no `i`, `l`, `o`, `u`, and it sorts as the number does.
package struct QueueID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Letters of its text.
    package static let length = 13

    package let rawValue: UInt64

    package init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The first id of a millisecond.
    package init(at time: Timestamp) { rawValue = UInt64(max(0, time.milliseconds)) << 20 }

    /// The id that comes after this one, or the first of `time`, whichever is later: ids never run backwards.
    package func next(at time: Timestamp) -> QueueID {
        QueueID(rawValue: max(rawValue &+ 1, QueueID(at: time).rawValue))
    }

    package static func < (a: QueueID, b: QueueID) -> Bool { a.rawValue < b.rawValue }

    /// Reads the text form.
    ///
    /// - Returns: nil unless `text` is exactly 13 letters of the alphabet and fits 64 bits.
    package init?(_ text: some StringProtocol) {
        let bytes = text.utf8
        guard bytes.count == Self.length else { return nil }
        var value: UInt64 = 0
        for byte in bytes {
            guard let digit = Self.alphabet.firstIndex(of: byte), value >> 59 == 0 else { return nil }
            value = value << 5 | UInt64(digit)
        }
        rawValue = value
    }

    package var description: String {
        String(unsafeUninitializedCapacity: Self.length) { buffer in
            write(to: UnsafeMutableRawBufferPointer(buffer))
            return Self.length
        }
    }

    /// Writes the 13 letters; for log lines and headers that are built without a `String`.
    ///
    /// - Parameter buffer: at least 13 bytes.
    package func write(to buffer: UnsafeMutableRawBufferPointer) {
        for index in 0..<Self.length {
            buffer[index] = Self.alphabet[Int(rawValue >> UInt64(60 - 5 * index) & 31)]
        }
    }

    private static let alphabet: [UInt8] = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)
}
