// LogLine.swift — one log line while it is written: bytes into a fixed buffer, no dictionary and no string building.
//
// Guarantees: whatever a value holds, it stays one value of one line. Control characters, quotes, backslashes, invalid
// UTF-8 and the line separators of Unicode leave as escapes; a value is cut at 512 bytes, a line at 4 KiB, whole fields
// only. JSON per RFC 8259, times per RFC 3339.

/// A line being written; lives on one thread for the time of one closure.
package struct LogLine: ~Copyable {
    /// Longest value, bytes before escaping.
    package static let valueLimit = 512
    /// Longest line, bytes, its line feed included.
    static let lineLimit = 4096
    /// Kept free for the end of the line: `,"cut":true}` and the line feed.
    private static let tailReserve = 16

    private let bytes: UnsafeMutableRawBufferPointer
    /// Bytes that may be used before ``end()``.
    private let limit: Int
    private let isJSON: Bool
    private let privacy: AddressPrivacy?
    private var count = 0
    private var isFull = false
    private var isCut = false

    /// - Parameters:
    ///   - bytes: at least ``lineLimit`` bytes that outlive the line.
    ///   - format: text or JSON; Postfix's is made out of the text.
    ///   - privacy: what becomes of addresses; nil leaves them as they are.
    init(into bytes: UnsafeMutableRawBufferPointer, format: LogFormat, privacy: AddressPrivacy? = nil) {
        self.bytes = bytes
        limit = bytes.count - Self.tailReserve
        isJSON = format == .json
        self.privacy = privacy
    }

    // MARK: Fields

    /// Adds a text value.
    package mutating func add(_ key: LogKey, _ value: String) {
        let start = count
        begin(key)
        putValue(value)
        endField(start)
    }

    /// Adds two texts as one value with a byte between them, printable ASCII: `local`, `@`, `domain`.
    package mutating func add(_ key: LogKey, _ first: String, _ between: UInt8, _ second: String) {
        let start = count
        begin(key)
        let valueStart = count
        if isJSON { put(0x22) }
        let isWhole = privacy == nil && first.utf8.count + second.utf8.count < Self.valueLimit
        if isWhole, putPlain(first) {
            put(between)
            if putPlain(second) {
                if isJSON { put(0x22) }
                return endField(start)
            }
        }
        count = valueStart
        putValue(first + String(decoding: CollectionOfOne(between), as: UTF8.self) + second)
        endField(start)
    }

    /// Adds a number.
    package mutating func add(_ key: LogKey, _ value: Int) {
        let start = count
        begin(key)
        put(decimal: value)
        endField(start)
    }

    /// Adds milliseconds as seconds with three digits after the point.
    package mutating func add(_ key: LogKey, seconds milliseconds: Int64) {
        let start = count
        begin(key)
        let magnitude = milliseconds.magnitude
        if milliseconds < 0 { put(0x2D) }
        put(decimal: Int(clamping: magnitude / 1000))
        put(0x2E)
        let rest = Int(magnitude % 1000)
        put(0x30 + UInt8(truncatingIfNeeded: rest / 100))
        put(0x30 + UInt8(truncatingIfNeeded: rest / 10 % 10))
        put(0x30 + UInt8(truncatingIfNeeded: rest % 10))
        endField(start)
    }

    /// Adds bytes as they came from a peer; what is no UTF-8 is escaped.
    package mutating func add(_ key: LogKey, bytes value: UnsafeRawBufferPointer) {
        let start = count
        begin(key)
        if privacy == nil { putValue(bytes: value) } else { putValue(String(decoding: value, as: UTF8.self)) }
        endField(start)
    }

    // MARK: Frame of the line

    /// Writes everything before the fields, leaving ``timeWidth`` bytes for the time.
    ///
    /// - Returns: where the time goes.
    mutating func begin(_ level: LogLevel, _ message: UnsafeRawBufferPointer) -> Int {
        if isJSON { put("{\"time\":\"") }
        let gap = count
        count += LogClock.width
        put(isJSON ? "\",\"level\":\"" : " ")
        put(level.name)
        if isJSON {
            put("\",\"message\":")
            putValue(bytes: message)
        } else {
            put(0x20)
            let shown = UnsafeRawBufferPointer(rebasing: message.prefix(Self.valueLimit))
            if ByteClass(of: shown) == .other { putEscaped(shown) } else { put(shown) }
        }
        return gap
    }

    /// Ends the line with its line feed.
    ///
    /// - Returns: the line's length in bytes.
    mutating func end() -> Int {
        isFull = false
        if isCut { putUnchecked(isJSON ? ",\"cut\":true" : " cut=true") }
        if isJSON { putUnchecked("}") }
        putUnchecked("\n")
        return count
    }

    private mutating func begin(_ key: LogKey) {
        if isJSON { put(",\"") } else { put(0x20) }
        put(key.rawValue)
        if isJSON { put("\":") } else { put(0x3D) }
    }

    private mutating func begin(name: String) {
        if isJSON { put(",\"") } else { put(0x20) }
        for byte in name.utf8 {
            switch byte {
            case 0x22, 0x3D, 0x5C: put(0x5F)
            case 0x21...0x7E: put(byte)
            default: put(0x5F)
            }
        }
        if isJSON { put("\":") } else { put(0x3D) }
    }

    /// Takes a field back that did not fit: a line never holds half a field.
    private mutating func endField(_ start: Int) {
        guard isFull else { return }
        count = start
        isFull = false
        isCut = true
    }

    // MARK: Values

    private mutating func putValue(_ value: String) {
        var value = privacy?.redacted(value) ?? value
        value.withUTF8 { putValue(bytes: UnsafeRawBufferPointer($0)) }
    }

    private mutating func putValue(bytes value: UnsafeRawBufferPointer) {
        let isLong = value.count > Self.valueLimit
        let shown = isLong ? UnsafeRawBufferPointer(rebasing: value.prefix(Self.cut(value))) : value
        let look = ByteClass(of: shown)
        let isQuoted = isJSON || shown.isEmpty || look == .spaced || look == .other && !UTF8Check.isBare(shown)
        if isQuoted { put(0x22) }
        if look == .other { putEscaped(shown) } else { put(shown) }
        if isLong { put("…") }
        if isQuoted { put(0x22) }
    }

    /// Writes a text that needs neither quotes nor escapes.
    ///
    /// - Returns: false, and nothing is written, when it is no such text.
    private mutating func putPlain(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { bytes in
            let bytes = UnsafeRawBufferPointer(bytes)
            guard ByteClass(of: bytes) == .bare else { return false }
            put(bytes)
            return true
        }
    }

    /// The longest prefix within the limit that does not cut a UTF-8 sequence in two.
    private static func cut(_ value: UnsafeRawBufferPointer) -> Int {
        var end = valueLimit
        while end > valueLimit - 3, value[end] & 0xC0 == 0x80 { end -= 1 }
        return end
    }

    private mutating func putEscaped(_ value: UnsafeRawBufferPointer) {
        var index = 0
        while index < value.count, !isFull {
            let byte = value[index]
            if byte >= 0x80 {
                index += putNonASCII(value[index...])
                continue
            }
            index += 1
            switch byte {
            case 0x22, 0x5C:
                put(0x5C)
                put(byte)
            case 0x20...0x7E: put(byte)
            case 0x0A: put("\\n")
            case 0x0D: put("\\r")
            case 0x09: put("\\t")
            default:
                put(isJSON ? "\\u00" : "\\x")
                put(hex: byte)
            }
        }
    }

    /// Writes the sequence at the front of `value` and returns how many bytes it had.
    private mutating func putNonASCII(_ value: Slice<UnsafeRawBufferPointer>) -> Int {
        let (scalar, length) = UTF8Check.decode(value)
        guard let scalar else {
            if isJSON {
                put("\\ufffd")
            } else {
                put("\\x")
                put(hex: value[value.startIndex])
            }
            return 1
        }
        if UTF8Check.isPrintable(scalar) {
            put(UnsafeRawBufferPointer(rebasing: value.prefix(length)))
        } else {
            put("\\u")
            put(hex: UInt8(truncatingIfNeeded: scalar >> 8))
            put(hex: UInt8(truncatingIfNeeded: scalar))
        }
        return length
    }

    // MARK: Bytes

    @inline(__always)
    private mutating func put(_ byte: UInt8) {
        guard count < limit else {
            isFull = true
            return
        }
        bytes[count] = byte
        count &+= 1
    }

    private mutating func put(_ text: String) {
        var text = text
        text.withUTF8 { put(UnsafeRawBufferPointer($0)) }
    }

    private mutating func put(_ text: StaticString) {
        put(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    @inline(__always)
    private mutating func put(_ source: UnsafeRawBufferPointer) {
        guard source.count <= limit &- count else {
            isFull = true
            return
        }
        guard let from = source.baseAddress, let to = bytes.baseAddress else { return }
        (to + count).copyMemory(from: from, byteCount: source.count)
        count &+= source.count
    }

    /// For the reserve at the end only.
    private mutating func putUnchecked(_ text: StaticString) {
        for index in 0..<min(text.utf8CodeUnitCount, bytes.count - count) {
            bytes[count] = text.utf8Start[index]
            count += 1
        }
    }

    private mutating func put(hex byte: UInt8) {
        put(Self.digits[Int(byte >> 4)])
        put(Self.digits[Int(byte & 15)])
    }

    private mutating func put(decimal value: Int) {
        if value < 0 { put(0x2D) }
        let magnitude = value.magnitude
        var divisor: UInt = 1
        while magnitude / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            put(0x30 + UInt8(truncatingIfNeeded: magnitude / divisor % 10))
            divisor /= 10
        }
    }

    private static let digits: [UInt8] = Array("0123456789abcdef".utf8)
}
