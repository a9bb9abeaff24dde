// Mailbox.swift — an address with a name, as people write it in From and To.

package import Mail

/// `Ann Author <ann@example.org>`, `"Author, Ann" <ann@example.org>` or `ann@example.org`.
package struct Mailbox: Hashable, Sendable {
    /// Decoded; empty when there is none.
    package let name: String
    package let address: EmailAddress

    package init(name: String = "", address: EmailAddress) {
        self.name = name
        self.address = address
    }

    /// Reads one mailbox.
    ///
    /// - Returns: nil when there is no valid address, or something else than one.
    package init?(_ text: some StringProtocol) {
        let text = Self.trimmed(Substring(text))
        guard !text.unicodeScalars.contains(where: { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }) else {
            return nil
        }
        guard text.hasSuffix(">"), let open = text.lastIndex(of: "<") else {
            guard let address = EmailAddress(text) else { return nil }
            self.init(address: address)
            return
        }
        guard let address = EmailAddress(text[text.index(after: open)..<text.index(before: text.endIndex)]) else {
            return nil
        }
        var name = Self.trimmed(text[..<open])
        if name.count >= 2, name.hasPrefix("\""), name.hasSuffix("\"") {
            name = name.dropFirst().dropLast()
            self.init(name: Self.unquoted(name), address: address)
        } else {
            self.init(name: String(name), address: address)
        }
    }

    /// As it stands in a header field.
    ///
    /// - Source: RFC 5322 §3.4, RFC 2047 §5
    var field: String { name.isEmpty ? "\(address)" : "\(EncodedWords.phrase(name)) <\(address)>" }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while let first = text.first, first == " " || first == "\t" { text = text.dropFirst() }
        while let last = text.last, last == " " || last == "\t" { text = text.dropLast() }
        return text
    }

    private static func unquoted(_ text: Substring) -> String {
        var result = ""
        var isEscaped = false
        for character in text {
            if character == "\\", !isEscaped {
                isEscaped = true
            } else {
                result.append(character)
                isEscaped = false
            }
        }
        return result
    }
}
