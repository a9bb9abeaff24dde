// JSONParser.swift — bytes into a JSON value, as strictly as RFC 8259 is written, and within bounds.
//
// Refused with the place where it stands: anything behind the value, a member that comes twice, invalid UTF-8, lone
// surrogates, control characters in strings, numbers beyond what a double holds.
//
// Guarantees: takes no more memory than its bounds say, whatever the text; reads every byte twice at most; makes each
// string once, at its size.

extension JSON {
    /// Reads a text.
    ///
    /// - Throws: ``JSONError``.
    package init(parsing bytes: [UInt8], within bounds: JSONBounds = .standard) throws(JSONError) {
        var parser = JSONParser(bytes, bounds)
        self = try parser.document()
    }
}

private struct JSONParser {
    /// Names of an object that are compared one by one; more are found by hash.
    private static let fewNames = 8

    private let bytes: [UInt8]
    private let bounds: JSONBounds
    private var index = 0
    private var depth = 0
    private var values = 0
    private var spent = 0
    private var paid = 0

    init(_ bytes: [UInt8], _ bounds: JSONBounds) {
        self.bytes = bytes
        self.bounds = bounds
    }

    /// What some editors and PowerShell put in front of UTF-8; it stands in no JSON text (RFC 8259 §8.1).
    private static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

    mutating func document() throws(JSONError) -> JSON {
        guard !bytes.starts(with: Self.byteOrderMark) else {
            throw error("a byte order mark (EF BB BF) stands in front of the JSON text; send it without one")
        }
        let value = try self.value()
        skipWhite()
        guard index == bytes.count else { throw error("there is more behind the value") }
        return value
    }

    private mutating func value() throws(JSONError) -> JSON {
        skipWhite()
        guard let first = peek else { throw error("the text ends where a value should stand") }
        values += 1
        guard values <= bounds.values else { throw beyond("more than \(bounds.values) values") }
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
        guard depth <= bounds.depth else { throw beyond("more than \(bounds.depth) levels") }
        index += 1
        skipWhite()
        let value = try body(&self)
        depth -= 1
        return value
    }

    private mutating func object() throws(JSONError) -> JSON {
        if take("}") { return .object([]) }
        try charge(JSONBounds.storage)
        var members: [JSON.Member] = []
        var names = KnownNames()
        while true {
            skipWhite()
            guard peek == UInt8(ascii: "\"") else { throw error("a member's name should stand here") }
            let start = index
            let name = try string()
            try charge(JSONBounds.member + (members.count < Self.fewNames ? 0 : JSONBounds.name))
            let isKnown =
                members.count < Self.fewNames
                ? members.contains { $0.isCalled(name) } : !names.insert(name, behind: members)
            guard !isKnown else { throw error("the member comes twice", at: start) }
            skipWhite()
            guard take(":") else { throw error("a colon should stand here") }
            members.append(JSON.Member(name, try value()))
            skipWhite()
            if take("}") { return .object(members) }
            guard take(",") else { throw error("a comma or } should stand here") }
        }
    }

    private mutating func array() throws(JSONError) -> JSON {
        if take("]") { return .array([]) }
        try charge(JSONBounds.storage)
        var values: [JSON] = []
        while true {
            try charge(JSONBounds.element)
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

    private var peek: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func take(_ byte: Unicode.Scalar) -> Bool {
        guard peek == UInt8(ascii: byte) else { return false }
        index += 1
        return true
    }

    private mutating func skipWhite() {
        while let byte = peek, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { index += 1 }
    }

    /// Counts what is about to be taken.
    private mutating func charge(_ bytes: Int) throws(JSONError) {
        spent += bytes
        guard spent <= bounds.memory else { throw beyond("the value would take more than \(bounds.memory) bytes") }
        guard spent > paid, let purse = bounds.purse else { return }
        let more = max(JSONBounds.piece, spent - paid)
        guard purse.pay(more) else {
            throw JSONError(offset: index, reason: "there is no memory for the value", cause: .memory)
        }
        paid += more
    }

    private func error(_ reason: String, at offset: Int? = nil) -> JSONError {
        JSONError(offset: offset ?? index, reason: reason, cause: .syntax)
    }

    private func beyond(_ reason: String) -> JSONError {
        JSONError(offset: index, reason: reason, cause: .bounds)
    }
}

// MARK: - Strings

extension JSONParser {
    /// Looks through a string first, so that what it takes is known before it is made.
    private mutating func string() throws(JSONError) -> String {
        index += 1
        let start = index
        var hasEscapes = false
        while true {
            guard let byte = peek else { throw error("the string does not end") }
            index += 1
            switch byte {
            case UInt8(ascii: "\""):
                let place = start..<index - 1
                try charge(JSONBounds.text(place.count))
                let isText = (try? UTF8Span(validating: bytes.span.extracting(place))) != nil
                guard isText else { throw error("the string is not UTF-8", at: start) }
                guard hasEscapes else { return String(decoding: bytes[place], as: UTF8.self) }
                return unescaped(place)
            case UInt8(ascii: "\\"):
                hasEscapes = true
                try escape()
            case 0..<0x20: throw error("a control character in a string")
            default: break
            }
        }
    }

    /// Passes over an escape behind its backslash.
    private mutating func escape() throws(JSONError) {
        guard let byte = peek else { throw error("the string does not end") }
        guard byte == UInt8(ascii: "u") else {
            guard Self.meaning(of: byte) != nil else { throw error("an unknown escape") }
            index += 1
            return
        }
        let first = try unit(at: index + 1)
        index += 5
        guard Unicode.Scalar(first) == nil else { return }
        guard (0xD800..<0xDC00).contains(first), take("\\"), take("u") else { throw error("a lone surrogate") }
        guard (0xDC00..<0xE000).contains(try unit(at: index)) else { throw error("a lone surrogate") }
        index += 4
    }

    /// The text of a string whose escapes were looked at: it is never longer than they are.
    private func unescaped(_ place: Range<Int>) -> String {
        String(unsafeUninitializedCapacity: place.count) { text in
            var (from, to) = (place.lowerBound, 0)
            func put(_ byte: UInt8) {
                text[to] = byte
                to += 1
            }
            while from < place.upperBound {
                let byte = bytes[from]
                from += 1
                guard byte == UInt8(ascii: "\\") else {
                    put(byte)
                    continue
                }
                let kind = bytes[from]
                from += 1
                if let byte = Self.meaning(of: kind) {
                    put(byte)
                    continue
                }
                var value = (try? unit(at: from)) ?? 0xFFFD
                from += 4
                if Unicode.Scalar(value) == nil {
                    value = 0x10000 + (value - 0xD800) << 10 + (((try? unit(at: from + 2)) ?? 0xDC00) - 0xDC00)
                    from += 6
                }
                for byte in UTF8.encode(Unicode.Scalar(value) ?? "\u{FFFD}") ?? .init() { put(byte) }
            }
            return to
        }
    }

    private static func meaning(of escape: UInt8) -> UInt8? {
        switch escape {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): escape
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "f"): 0x0C
        case UInt8(ascii: "n"): 0x0A
        case UInt8(ascii: "r"): 0x0D
        case UInt8(ascii: "t"): 0x09
        default: nil
        }
    }

    /// Four hexadecimal digits.
    private func unit(at place: Int) throws(JSONError) -> UInt32 {
        guard bytes.count - place >= 4 else { throw error("an escape is cut off") }
        var value: UInt32 = 0
        for byte in bytes[place..<place + 4] {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - 0x30
            case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"):
                digit = byte & 0xDF - 0x37
            default: throw error("not four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
        }
        return value
    }
}

/// The names of an object with many members.
private struct KnownNames {
    /// Compared octet for octet: two spellings of one letter are two names.
    private struct Name: Hashable {
        let text: String

        static func == (a: Name, b: Name) -> Bool { a.text.utf8.elementsEqual(b.text.utf8) }

        func hash(into hasher: inout Hasher) {
            var text = text
            text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        }
    }

    private var names: Set<Name> = []

    /// - Parameter members: those before, whose names are taken in at the first call.
    /// - Returns: false when it was there.
    mutating func insert(_ name: String, behind members: [JSON.Member]) -> Bool {
        if names.isEmpty { for member in members { names.insert(Name(text: member.name)) } }
        return names.insert(Name(text: name)).inserted
    }
}
