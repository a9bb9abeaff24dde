// MIMEEntity.swift — what the header of a message or of one of its parts says about what follows (RFC 2045, RFC 2046).
//
// Lenient as mail programs are: what cannot be read is text/plain, the first of several fields counts.

import Mail

/// One message, or one part of one.
struct MIMEEntity: Sendable {
    /// A parameter of a field, as it was written and as it was meant.
    struct Parameter: Sendable {
        /// In lower case.
        let name: String
        let value: [UInt8]
        /// `name=value` as it stands in the field.
        let text: ArraySlice<UInt8>
    }

    /// Counted from 0, the message itself, in the order of their headers.
    let number: Int
    private(set) var type = "text"
    private(set) var subtype = "plain"
    /// There is a Content-Type that can be read.
    private(set) var hasType = false
    private(set) var hasCharset = false
    private(set) var boundary: [UInt8]?
    /// Content-Transfer-Encoding in lower case; nil when there is none.
    private(set) var encoding: String?
    private(set) var hasVersion = false
    /// A part of a multipart/signed, or of something in one: what is changed in it breaks a signature.
    let isSigned: Bool

    init(_ number: Int, _ fields: [HeaderFields.Field], isSigned: Bool, isDigest: Bool) {
        self.number = number
        self.isSigned = isSigned
        if isDigest { (type, subtype) = ("message", "rfc822") }
        for field in fields {
            switch field.name {
            case "content-type" where !hasType: take(contentType: field.value)
            case "content-transfer-encoding" where encoding == nil:
                var words = FieldWords(field.value)
                encoding = words.token().map { String(decoding: $0, as: UTF8.self).lowercasedASCII }
            case "mime-version": hasVersion = true
            default: break
            }
        }
    }

    private mutating func take(contentType value: ArraySlice<UInt8>) {
        guard let parsed = Self.parse(value) else { return }
        let words = parsed.main.split(octet: "/", omittingEmpty: false)
        guard words.count == 2, !words[0].isEmpty, !words[1].isEmpty else { return }
        hasType = true
        type = String(decoding: words[0], as: UTF8.self).lowercasedASCII
        subtype = String(decoding: words[1], as: UTF8.self).lowercasedASCII
        for parameter in parsed.parameters {
            switch parameter.name {
            case "charset": hasCharset = true
            case "boundary" where boundary == nil && !parameter.value.isEmpty: boundary = parameter.value
            default: break
            }
        }
    }

    /// What stands in front of the first semicolon, and the parameters; nil for a field without a first word.
    static func parse(_ value: ArraySlice<UInt8>) -> (main: [UInt8], parameters: [Parameter])? {
        var words = FieldWords(value)
        guard let main = words.token() else { return nil }
        var parameters: [Parameter] = []
        while words.skip(to: UInt8(ascii: ";")), let parameter = words.parameter() { parameters.append(parameter) }
        return (Array(main), parameters)
    }

    /// Its content is as it is: nothing has to be decoded.
    var isIdentity: Bool { encoding.map { ["7bit", "8bit", "binary"].contains($0) } ?? true }
    /// Its content is said to be more than seven bits.
    var isLabelledWide: Bool { encoding == "8bit" || encoding == "binary" }
    /// It consists of parts that can be told apart.
    var isMultipart: Bool { type == "multipart" && boundary != nil && isIdentity }
    /// It is a message, whose header follows.
    var isMessage: Bool { type == "message" && (subtype == "rfc822" || subtype == "news") && isIdentity }
}

/// The value of a structured field, word by word.
private struct FieldWords {
    private let all: ArraySlice<UInt8>
    private var rest: ArraySlice<UInt8>

    init(_ value: ArraySlice<UInt8>) {
        all = value
        rest = value
    }

    /// Letters up to a blank, a semicolon or a comment.
    mutating func token() -> ArraySlice<UInt8>? {
        skipBlanks()
        let end = rest.firstIndex { Self.isBlank($0) || $0 == UInt8(ascii: ";") || $0 == UInt8(ascii: "(") }
        let word = rest[..<(end ?? rest.endIndex)]
        rest = rest[word.endIndex...]
        return word.isEmpty ? nil : word
    }

    /// Goes behind the next octet of this kind that is in no quotes.
    mutating func skip(to wanted: UInt8) -> Bool {
        var isQuoted = false
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\\") where isQuoted: _ = rest.popFirst()
            case UInt8(ascii: "\""): isQuoted.toggle()
            case wanted where !isQuoted: return true
            default: break
            }
        }
        return false
    }

    /// `name=value`, where the value may be quoted.
    mutating func parameter() -> MIMEEntity.Parameter? {
        skipBlanks()
        let start = rest.startIndex
        guard let equals = rest.firstIndex(of: UInt8(ascii: "=")) else { return nil }
        let name = rest[..<equals].filter { !Self.isBlank($0) }
        rest = rest[(equals + 1)...]
        skipBlanks()
        var value: [UInt8] = []
        if rest.first == UInt8(ascii: "\"") {
            rest.removeFirst()
            scan: while let byte = rest.popFirst() {
                switch byte {
                case UInt8(ascii: "\\"): if let next = rest.popFirst() { value.append(next) }
                case UInt8(ascii: "\""): break scan
                case 0x0D, 0x0A: break
                default: value.append(byte)
                }
            }
        } else {
            let end = rest.firstIndex { Self.isBlank($0) || $0 == UInt8(ascii: ";") } ?? rest.endIndex
            value = Array(rest[..<end])
            rest = rest[end...]
        }
        return MIMEEntity.Parameter(
            name: String(decoding: name, as: UTF8.self).lowercasedASCII,
            value: value,
            text: all[start..<rest.startIndex]
        )
    }

    private mutating func skipBlanks() {
        while let byte = rest.first {
            if Self.isBlank(byte) {
                rest.removeFirst()
            } else if byte == UInt8(ascii: "(") {
                skipComment()
            } else {
                return
            }
        }
    }

    private mutating func skipComment() {
        var depth = 0
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\\"): _ = rest.popFirst()
            case UInt8(ascii: "("): depth += 1
            case UInt8(ascii: ")"):
                depth -= 1
                if depth == 0 { return }
            default: break
            }
        }
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A }
}
