// EncodedWords.swift — text of any language in header fields (RFC 2047), and header fields that are folded.
//
// Guarantee: what comes out is printable ASCII in lines of at most 78 octets where the text can be folded; no line end
// comes from the text.

import Mail

/// Encoding of header texts.
package enum EncodedWords {
    /// Octets of text in one encoded word: 39 become 52 in base64, 64 with what stands around them, and 76 are allowed in a
    /// line (RFC 2047 §2).
    private static let octets = 39

    /// Unstructured text: as it is when it is plain ASCII, in encoded words otherwise.
    package static func text(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { (0x20...0x7E).contains($0) } && !text.contains(octets: "=?")
        // A word of more than 900 octets could not be folded.
        return isPlain && text.split(octet: " ").allSatisfy { $0.utf8.count < 900 } ? text : encoded(text)
    }

    /// The name before an address.
    package static func phrase(_ text: String) -> String {
        if text.utf8.allSatisfy(isAtomText), !text.isEmpty { return text }
        let isPlain = text.utf8.allSatisfy { (0x20...0x7E).contains($0) } && !text.contains(octets: "=?")
        guard isPlain, text.utf8.count < 200 else { return encoded(text) }
        return "\"" + text.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined() + "\""
    }

    /// `name: body` in lines, folded at blanks.
    package static func field(_ name: String, _ body: String) -> String {
        var lines: [String] = []
        var line = "\(name):"
        for word in body.split(octet: " ", omittingEmpty: false) {
            if line.utf8.count + 1 + word.utf8.count > 78, line.utf8.count > name.utf8.count + 1, !word.isEmpty {
                lines.append(line)
                line = " \(word)"
            } else {
                line += " \(word)"
            }
        }
        return (lines + [line]).joined(separator: "\r\n") + "\r\n"
    }

    /// Octets of no known charset (RFC 1428 §3).
    static func encoded(octets text: [UInt8]) -> String {
        stride(from: 0, to: text.count, by: 30)
            .map { "=?unknown-8bit?B?\(Base64.encode(text[$0..<min($0 + 30, text.count)]))?=" }
            .joined(separator: " ")
    }

    /// Text as encoded words.
    static func encoded(_ text: String) -> String {
        var words: [String] = []
        var bytes: [UInt8] = []
        func flush() {
            if !bytes.isEmpty { words.append("=?UTF-8?B?\(Base64.encode(bytes))?=") }
            bytes = []
        }
        for scalar in text.unicodeScalars {
            // A word holds whole characters.
            let next = Array(String(Character(scalar)).utf8)
            if bytes.count + next.count > octets { flush() }
            bytes += next
        }
        flush()
        return words.joined(separator: " ")
    }

    private static func isAtomText(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-/?^_`{|}~".utf8.contains(byte)
        }
    }
}
