// HeaderFields.swift — a header block taken apart into its fields (RFC 5322 §2.2, §4.5).

/// The fields of a header, in their order.
package struct HeaderFields: Sendable {
    /// One field.
    package struct Field: Sendable {
        /// In lower case, without the blanks that old syntax allows before the colon.
        package let name: String
        /// Behind the colon, folds included, without the last CRLF.
        package let value: ArraySlice<UInt8>
        /// All its lines with their ends.
        package let lines: ArraySlice<UInt8>
    }

    package let fields: [Field]

    /// Reads a header as ``HeaderBlock`` measures it; lines that are no fields are left out.
    package init(_ header: [UInt8]) {
        var found: [Field] = []
        var start = header.startIndex
        while start < header.endIndex {
            var end = start
            // A field goes on as long as the next line begins with white space.
            repeat {
                let feed = header[end...].firstIndex(of: 0x0A) ?? header.endIndex - 1
                end = feed + 1
            } while end < header.endIndex && (header[end] == 0x20 || header[end] == 0x09)
            if let field = Self.field(header[start..<end]) { found.append(field) }
            start = end
        }
        fields = found
    }

    private static func field(_ lines: ArraySlice<UInt8>) -> Field? {
        guard let colon = lines.firstIndex(of: UInt8(ascii: ":")), colon > lines.startIndex else { return nil }
        var name = lines[..<colon]
        while let last = name.last, last == 0x20 || last == 0x09 { name = name.dropLast() }
        guard !name.isEmpty, name.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
        var value = lines[(colon + 1)...]
        while let last = value.last, last == 0x0A || last == 0x0D { value = value.dropLast() }
        let lower = name.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
        return Field(name: String(decoding: lower, as: UTF8.self), value: value, lines: lines)
    }
}
