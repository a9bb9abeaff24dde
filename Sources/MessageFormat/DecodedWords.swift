// DecodedWords.swift — encoded words of a header field back into text for people (RFC 2047 §2, §6).
//
// Guarantees: never longer than what came in by more than a charset's growth, linear, and a word that is not understood
// stays as it was written. The result may hold anything: whoever shows it makes it harmless first.

import Mail

extension EncodedWords {
    /// The text of a field's value, folds included; words in UTF-8, US-ASCII and ISO-8859-1 are decoded.
    static func decoded(_ value: some Sequence<UInt8>) -> String {
        var text = ""
        var wasEncoded = false
        var gap = ""
        for word in Pieces(Array(value)) {
            if word.isBlank {
                gap = word.text
                continue
            }
            let plain = decodedWord(word.text)
            // White space between two encoded words is none.
            if !(wasEncoded && plain != nil) { text += gap }
            text += plain ?? word.text
            (wasEncoded, gap) = (plain != nil, "")
        }
        return text + gap
    }

    /// Blanks and words by turns.
    private struct Pieces: Sequence, IteratorProtocol {
        private var rest: ArraySlice<UInt8>

        init(_ bytes: [UInt8]) { rest = bytes[...] }

        mutating func next() -> (text: String, isBlank: Bool)? {
            guard let first = rest.first else { return nil }
            let isBlank = Self.isBlank(first)
            let piece = rest.prefix { Self.isBlank($0) == isBlank }
            rest = rest[piece.endIndex...]
            return (String(decoding: piece, as: UTF8.self), isBlank)
        }

        private static func isBlank(_ octet: UInt8) -> Bool { [0x20, 0x09, 0x0D, 0x0A].contains(octet) }
    }

    /// `=?charset?B?…?=` or `=?charset?Q?…?=`; nil when it is none, or of another charset.
    private static func decodedWord(_ word: String) -> String? {
        guard let inner = word.rest(behind: "=?")?.rest(before: "?=") else { return nil }
        let parts = inner.split(octet: "?", omittingEmpty: false)
        guard parts.count == 3 else { return nil }
        let bytes: [UInt8]?
        switch parts[1].lowercasedASCII {
        case "b": bytes = Base64.decode(parts[2].utf8)
        case "q": bytes = quoted(parts[2])
        default: bytes = nil
        }
        guard let bytes else { return nil }
        // A language may follow the charset (RFC 2231 §5).
        switch parts[0].split(octet: "*").first?.lowercasedASCII {
        case "utf-8", "us-ascii": return String(decoding: bytes, as: UTF8.self)
        case "iso-8859-1":
            var text = String.UnicodeScalarView()
            text.append(contentsOf: bytes.map { Unicode.Scalar($0) })
            return String(text)
        default: return nil
        }
    }

    private static func quoted(_ text: Substring) -> [UInt8]? {
        var result: [UInt8] = []
        var rest = text.utf8[...]
        while let octet = rest.popFirst() {
            switch octet {
            case UInt8(ascii: "_"): result.append(0x20)
            case UInt8(ascii: "="):
                let digits = rest.prefix(2).compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
                guard digits.count == 2 else { return nil }
                result.append(UInt8(digits[0] * 16 + digits[1]))
                rest = rest.dropFirst(2)
            default: result.append(octet)
            }
        }
        return result
    }
}
