// JSONParser.swift — bytes into a JSON value, as strictly as RFC 8259 is written.
//
// Refused with the place where it stands: anything behind the value, a member that comes twice, invalid UTF-8, lone
// surrogates, control characters in strings, more than 32 levels, numbers beyond what a double holds.

/// Why a text is no JSON, and where.
package struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Bytes from the start.
    package let offset: Int
    package let reason: String

    package var description: String { "\(reason) at byte \(offset)" }
}

extension JSON {
    /// Reads a text.
    ///
    /// - Throws: ``JSONError``.
    package init(parsing bytes: [UInt8]) throws(JSONError) {
        var parser = JSONParser(bytes)
        self = try parser.document()
    }
}

private struct JSONParser {
    /// Nesting beyond this is an attack on the stack, not data.
    private static let deepest = 32

    private let bytes: [UInt8]
    private var index = 0
    private var depth = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws(JSONError) -> JSON {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw error("the text is not UTF-8") }
        let value = try self.value()
        skipWhite()
        guard index == bytes.count else { throw error("there is more behind the value") }
        return value
    }

    private mutating func value() throws(JSONError) -> JSON {
        skipWhite()
        guard let first = peek else { throw error("the text ends where a value should stand") }
        switch first {
        case UInt8(ascii: "{"): return try nested { (parser) throws(JSONError) in try parser.object() }
        case UInt8(ascii: "["): return try nested { (parser) throws(JSONError) in try parser.array() }
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw error("no value begins like this")
        }
    }

    private mutating func nested(_ body: (inout JSONParser) throws(JSONError) -> JSON) throws(JSONError) -> JSON {
        depth += 1
        guard depth <= Self.deepest else { throw error("more than \(Self.deepest) levels") }
        index += 1
        let value = try body(&self)
        depth -= 1
        return value
    }

    private mutating func object() throws(JSONError) -> JSON {
        var members: [JSON.Member] = []
        var names: Set<String> = []
        skipWhite()
        if take("}") { return .object(members) }
        while true {
            skipWhite()
            guard peek == UInt8(ascii: "\"") else { throw error("a member's name should stand here") }
            let name = try string()
            guard names.insert(name).inserted else { throw error("the member comes twice") }
            skipWhite()
            guard take(":") else { throw error("a colon should stand here") }
            members.append(JSON.Member(name, try value()))
            skipWhite()
            if take("}") { return .object(members) }
            guard take(",") else { throw error("a comma or } should stand here") }
        }
    }

    private mutating func array() throws(JSONError) -> JSON {
        var values: [JSON] = []
        skipWhite()
        if take("]") { return .array(values) }
        while true {
            values.append(try value())
            skipWhite()
            if take("]") { return .array(values) }
            guard take(",") else { throw error("a comma or ] should stand here") }
        }
    }

    private mutating func word(_ text: StaticString, _ value: JSON) throws(JSONError) -> JSON {
        let count = text.utf8CodeUnitCount
        guard bytes.count - index >= count,
            (0..<count).allSatisfy({ bytes[index + $0] == text.utf8Start[$0] })
        else { throw error("no value begins like this") }
        index += count
        return value
    }

    private mutating func number() throws(JSONError) -> JSON {
        let start = index
        _ = take("-")
        let whole = digits()
        guard whole > 0, whole == 1 || bytes[index - whole] != UInt8(ascii: "0") else { throw error("not a number") }
        var isWhole = true
        if take(".") {
            isWhole = false
            guard digits() > 0 else { throw error("not a number") }
        }
        if let next = peek, next | 0x20 == UInt8(ascii: "e") {
            isWhole = false
            index += 1
            if !take("+") { _ = take("-") }
            guard digits() > 0 else { throw error("not a number") }
        }
        guard index - start <= 64 else { throw error("the number is too long") }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        if isWhole, let value = Int64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw error("the number is too large") }
        return .number(value)
    }

    private mutating func digits() -> Int {
        let start = index
        while let next = peek, (0x30...0x39).contains(next) { index += 1 }
        return index - start
    }

    private mutating func string() throws(JSONError) -> String {
        index += 1
        var text: [UInt8] = []
        while let byte = peek {
            index += 1
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0..<0x20: throw error("a control character in a string")
            default: text.append(byte)
            }
        }
        throw error("the string does not end")
    }

    private mutating func escape(into text: inout [UInt8]) throws(JSONError) {
        guard let byte = peek else { throw error("the string does not end") }
        index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"): text += Array(String(Character(try scalar())).utf8)
        default: throw error("an unknown escape")
        }
    }

    private mutating func scalar() throws(JSONError) -> Unicode.Scalar {
        let first = try unit()
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard (0xD800..<0xDC00).contains(first), take("\\"), take("u") else { throw error("a lone surrogate") }
        let second = try unit()
        guard (0xDC00..<0xE000).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
        else { throw error("a lone surrogate") }
        return scalar
    }

    private mutating func unit() throws(JSONError) -> UInt32 {
        guard bytes.count - index >= 4 else { throw error("an escape is cut off") }
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(bytes[index])).hexDigitValue else {
                throw error("not four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
            index += 1
        }
        return value
    }

    private var peek: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func take(_ byte: Unicode.Scalar) -> Bool {
        guard peek == UInt8(ascii: byte) else { return false }
        index += 1
        return true
    }

    private mutating func skipWhite() {
        while let byte = peek, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { index += 1 }
    }

    private func error(_ reason: String) -> JSONError { JSONError(offset: index, reason: reason) }
}
