// AddressLexer.swift — words, quoted strings, address literals and marks in a list of addresses (RFC 5322 §3.2).

/// One token.
struct AddressToken {
    enum Kind {
        /// Letters without quotes.
        case atom(String)
        /// What stood between quotes, its escapes undone.
        case quoted(String)
        /// `[…]` with its brackets and without blanks.
        case literal(String)
        /// One of `< > @ , ; : .`, or what stands alone that should not.
        case mark(UInt8)
    }

    let kind: Kind
    /// Holds a control character, or octets that are no UTF-8: fit for a name that is passed over, not for an address.
    let isBad: Bool
    /// A blank or a comment stands in front of it.
    let isApart: Bool
    /// Where it stands in what was read, quotes and brackets included.
    var place = 0..<0

    var mark: UInt8? { if case .mark(let byte) = kind { byte } else { nil } }

    /// Tokens as a person reads them: quotes gone, one blank where there were some.
    static func text(of tokens: some Sequence<AddressToken>) -> String {
        var text = ""
        for token in tokens {
            if token.isApart, !text.isEmpty { text += " " }
            switch token.kind {
            case .atom(let word), .quoted(let word), .literal(let word): text += word
            case .mark(let byte): text.unicodeScalars.append(Unicode.Scalar(byte))
            }
        }
        return text
    }
}

/// Cuts octets into tokens; comments are blanks, and line ends of folded fields too.
struct AddressLexer {
    private var bytes: ArraySlice<UInt8>
    /// `(…)` is text and no comment.
    private let keepsComments: Bool
    private var isApart = false
    private var found: [AddressToken] = []
    /// The first thing that is wrong.
    private(set) var fault: AddressList.Fault?

    init(_ text: some Sequence<UInt8>, keepsComments: Bool) {
        bytes = Array(text)[...]
        self.keepsComments = keepsComments
    }

    /// All tokens, also those behind a fault.
    mutating func tokens() -> [AddressToken] {
        while let byte = bytes.first {
            let (start, count) = (bytes.startIndex, found.count)
            defer { if found.count > count { found[count].place = start..<bytes.startIndex } }
            switch byte {
            case 0x20, 0x09, 0x0D, 0x0A:
                bytes.removeFirst()
                isApart = true
            case UInt8(ascii: "(") where !keepsComments: skipComment()
            case UInt8(ascii: "\""): takeQuoted()
            case UInt8(ascii: "["): takeLiteral()
            case _ where Self.isMark(byte):
                bytes.removeFirst()
                add(.mark(byte))
            default: takeAtom()
            }
        }
        return found
    }

    private mutating func add(_ kind: AddressToken.Kind, isBad: Bool = false) {
        found.append(AddressToken(kind: kind, isBad: isBad, isApart: isApart))
        isApart = false
    }

    /// Adds what was cut out as text.
    private mutating func add(_ bytes: some Collection<UInt8>, as kind: (String) -> AddressToken.Kind) {
        let text = String(decoding: bytes, as: UTF8.self)
        let isBad =
            !text.utf8.elementsEqual(bytes)
            || text.unicodeScalars.contains {
                $0.value < 0x20 && $0.value != 0x09 || (0x7F...0x9F).contains($0.value)
            }
        add(kind(text), isBad: isBad)
    }

    private mutating func note(_ fault: AddressList.Fault) { self.fault = self.fault ?? fault }

    private static func isMark(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "@"), UInt8(ascii: ","), UInt8(ascii: ";"),
            UInt8(ascii: ":"), UInt8(ascii: "."), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "]"),
            UInt8(ascii: "\\"):
            true
        default: false
        }
    }

    private mutating func takeAtom() {
        let end =
            bytes.firstIndex {
                Self.isMark($0) || [0x20, 0x09, 0x0D, 0x0A, UInt8(ascii: "\""), UInt8(ascii: "[")].contains($0)
            } ?? bytes.endIndex
        add(bytes[..<end], as: AddressToken.Kind.atom)
        bytes = bytes[end...]
    }

    private mutating func takeQuoted() {
        bytes.removeFirst()
        var text: [UInt8] = []
        while let byte = bytes.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return add(text, as: AddressToken.Kind.quoted)
            case UInt8(ascii: "\\"): if let next = bytes.popFirst() { text.append(next) }
            // The CRLF of a fold is none of the text.
            case 0x0D, 0x0A: continue
            default: text.append(byte)
            }
        }
        note(.unterminated("\""))
    }

    private mutating func takeLiteral() {
        guard let end = bytes.firstIndex(of: UInt8(ascii: "]")) else {
            note(.unterminated("["))
            bytes = []
            return
        }
        add(bytes[...end].filter { ![0x20, 0x09, 0x0D, 0x0A].contains($0) }, as: AddressToken.Kind.literal)
        bytes = bytes[(end + 1)...]
    }

    private mutating func skipComment() {
        var depth = 0
        isApart = true
        while let byte = bytes.popFirst() {
            switch byte {
            case UInt8(ascii: "\\"): _ = bytes.popFirst()
            case UInt8(ascii: "("): depth += 1
            case UInt8(ascii: ")"):
                depth -= 1
                if depth == 0 { return }
            default: continue
            }
        }
        note(.unterminated("("))
    }
}
