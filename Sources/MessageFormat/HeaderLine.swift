// HeaderLine.swift — a field that somebody else wants added to a message, or taken out of it.

import Mail

/// Fields by name and text.
package enum HeaderLine {
    /// Fields that tell who wrote a message and which way it came: nobody takes them out.
    private static let lasting: Set<String> = ["from", "received", "return-path"]

    /// The lines of a field; text beyond ASCII becomes encoded words.
    ///
    /// - Returns: nil for a name that no such field has, or a text with controls or more than 10 000 octets.
    package static func make(_ name: String, _ text: String) -> String? {
        guard ComposedMessage.isFieldName(name), text.utf8.count <= 10_000,
            text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) })
        else { return nil }
        return EncodedWords.field(name, EncodedWords.text(text))
    }

    /// Whether fields of a name may be taken out.
    package static func isRemovable(_ name: String) -> Bool {
        // characters: names of fields are ASCII
        (1...76).contains(name.utf8.count) && !lasting.contains(name.lowercasedASCII)
            && name.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x3A }
    }

    /// A header without the fields of some names.
    ///
    /// - Parameter names: in lower case.
    /// - Returns: nil when it has none of them.
    package static func without(_ names: Set<String>, _ header: [UInt8]) -> [UInt8]? {
        var left: [UInt8] = []
        var copied = header.startIndex
        // characters: names of fields are ASCII
        for field in HeaderFields(header).fields where names.contains(field.name) {
            left += header[copied..<field.lines.startIndex]
            copied = field.lines.endIndex
        }
        return copied == header.startIndex ? nil : left + header[copied...]
    }
}
