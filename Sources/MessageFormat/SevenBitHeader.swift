// SevenBitHeader.swift — header fields of any octets and lengths as printable ASCII in lines that may be sent.
//
// Texts become encoded words (RFC 2047), parameters of Content-… fields the form of RFC 2231. What is no UTF-8 is called
// `unknown-8bit` (RFC 1428), since nobody knows what it is. Fields that need nothing stay as they are, octet for octet.

import Mail

/// Rewrites fields.
enum SevenBitHeader {
    /// Octets of a word beyond which it cannot be folded into a line.
    private static let mostWord = 900
    /// Octets of a parameter's value in one piece.
    private static let mostParameter = 60

    /// Whether a field may be sent as it is.
    ///
    /// - Parameters:
    ///   - lines: with their ends.
    ///   - keepsEightBit: only their lengths matter.
    static func isFit(_ lines: some Sequence<UInt8>, keepsEightBit: Bool = false) -> Bool {
        var column = 0
        for byte in lines {
            column = byte == 0x0A ? 0 : column + 1
            // The CR is none of the 998.
            if byte > 127 && !keepsEightBit || column > SevenBitPlan.mostColumns + 1 { return false }
        }
        return true
    }

    /// A field in lines of printable ASCII, folded at blanks.
    static func field(_ field: HeaderFields.Field, keepsEightBit: Bool = false) -> [UInt8] {
        guard !isFit(field.lines, keepsEightBit: keepsEightBit) else { return Array(field.lines) }
        let name = String(decoding: field.lines.prefix { $0 != UInt8(ascii: ":") }.filter { $0 > 0x20 }, as: UTF8.self)
        let value = field.value.filter { $0 != 0x0D && $0 != 0x0A }
        var body: String
        if field.name.starts(withOctets: "content-"), let text = parameters(of: value) {
            body = text
        } else {
            body = words(value, isAddress: addressFields.contains { $0.isSame(octets: field.name) })
        }
        body = String(body.trimmed)
        return broken(Array(EncodedWords.field(name, body).utf8))
    }

    private static let addressFields = [
        "from", "sender", "reply-to", "to", "cc", "bcc", "resent-from", "resent-sender", "resent-to", "resent-cc",
        "resent-bcc", "return-path", "disposition-notification-to", "mail-followup-to",
    ]

    /// Breaks the lines that could not be folded at a blank.
    private static func broken(_ lines: [UInt8]) -> [UInt8] {
        guard !isFit(lines) else { return lines }
        var out: [UInt8] = []
        var column = 0
        for byte in lines {
            if byte != 0x0D, byte != 0x0A, column >= mostWord {
                out += [0x0D, 0x0A, 0x20]
                column = 1
            }
            out.append(byte)
            column = byte == 0x0A ? 0 : column + 1
        }
        return out
    }

    // MARK: words

    /// A word, and what keeps its place around it when it is encoded.
    private struct Word {
        var before: ArraySlice<UInt8> = []
        var text: [UInt8]
        var behind: ArraySlice<UInt8> = []
        var isWide: Bool
    }

    private static func words(_ value: [UInt8], isAddress: Bool) -> String {
        var out: [UInt8] = []
        /// Text that becomes encoded words, and what follows it.
        var run: (text: [UInt8], behind: ArraySlice<UInt8>)?
        func end() {
            if let ended = run { out += encoded(ended.text) + ended.behind }
            run = nil
        }
        for (blanks, raw) in split(value, isAddress: isAddress) {
            let word = word(raw, isAddress: isAddress)
            if let open = run, word.isWide, open.behind.isEmpty, word.before.isEmpty {
                // Blanks between encoded words are not shown, so the one that is meant goes into them.
                run = (open.text + blanks + word.text, word.behind)
                continue
            }
            end()
            out += blanks + word.before
            if word.isWide { run = (word.text, word.behind) } else { out += word.text + word.behind }
        }
        end()
        return String(decoding: out, as: UTF8.self)
    }

    /// The words with the blanks in front of them; in fields of addresses a quoted text is one word.
    private static func split(
        _ value: [UInt8],
        isAddress: Bool
    ) -> [(blanks: ArraySlice<UInt8>, word: ArraySlice<UInt8>)] {
        var found: [(ArraySlice<UInt8>, ArraySlice<UInt8>)] = []
        var rest = value[...]
        while !rest.isEmpty {
            let blanks = rest.prefix { $0 == 0x20 || $0 == 0x09 }
            rest = rest[blanks.endIndex...]
            var isQuoted = false
            var isEscaped = false
            let end = rest.firstIndex { byte in
                defer { isEscaped = byte == UInt8(ascii: "\\") && !isEscaped }
                if isAddress, byte == UInt8(ascii: "\""), !isEscaped { isQuoted.toggle() }
                return !isQuoted && (byte == 0x20 || byte == 0x09)
            }
            let word = rest[..<(end ?? rest.endIndex)]
            rest = rest[word.endIndex...]
            found.append((blanks, word))
        }
        return found
    }

    private static func word(_ raw: ArraySlice<UInt8>, isAddress: Bool) -> Word {
        let isWide = raw.contains { $0 > 127 } || !isAddress && raw.count > mostWord
        guard isWide else { return Word(text: Array(raw), isWide: false) }
        guard isAddress else { return Word(text: Array(raw), isWide: true) }
        var text = raw
        while let first = text.first, "(<,".utf8.contains(first) { text.removeFirst() }
        while let last = text.last, ")>,;:".utf8.contains(last) { text.removeLast() }
        let (before, behind) = (raw[..<text.startIndex], raw[text.endIndex...])
        if text.count >= 2, text.first == UInt8(ascii: "\""), text.last == UInt8(ascii: "\"") {
            return Word(before: before, text: unquoted(text.dropFirst().dropLast()), behind: behind, isWide: true)
        }
        return Word(before: before, text: Array(text), behind: behind, isWide: true)
    }

    private static func unquoted(_ text: ArraySlice<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        var rest = text
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), let next = rest.popFirst() { out.append(next) } else { out.append(byte) }
        }
        return out
    }

    private static func encoded(_ text: [UInt8]) -> [UInt8] {
        if let known = String(validating: text, as: UTF8.self) { return Array(EncodedWords.encoded(known).utf8) }
        return Array(EncodedWords.encoded(octets: text).utf8)
    }

    // MARK: parameters

    /// The value of a field with parameters; nil for one that has none.
    private static func parameters(of value: [UInt8]) -> String? {
        guard let parsed = MIMEEntity.parse(value[...]), !parsed.parameters.isEmpty else { return nil }
        guard parsed.main.allSatisfy({ $0 < 127 }) else { return nil }
        let texts = parsed.parameters.flatMap { parameter -> [String] in
            let isPlain = parameter.text.allSatisfy { $0 < 127 } && parameter.text.count < mostWord
            if isPlain { return [String(decoding: parameter.text, as: UTF8.self)] }
            return extended(parameter.name.filter { $0.isASCII }, parameter.value)
        }
        return ([String(decoding: parsed.main, as: UTF8.self)] + texts).joined(separator: "; ")
    }

    /// `name*=UTF-8''%C3%BC`, in pieces where it is long (RFC 2231 §3, §4).
    private static func extended(_ name: String, _ value: [UInt8]) -> [String] {
        let charset = String(validating: value, as: UTF8.self) == nil ? "unknown-8bit" : "UTF-8"
        var pieces: [String] = []
        var rest = value[...]
        while !rest.isEmpty {
            pieces.append(PercentEncoding.encoded(octets: rest.prefix(mostParameter / 3)))
            rest = rest.dropFirst(mostParameter / 3)
        }
        guard pieces.count > 1 else { return ["\(name)*=\(charset)''\(pieces.first ?? "")"] }
        return pieces.enumerated().map { number, piece in
            "\(name)*\(number)*=\(number == 0 ? "\(charset)''" : "")\(piece)"
        }
    }
}
