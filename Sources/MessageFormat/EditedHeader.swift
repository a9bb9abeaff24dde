// EditedHeader.swift — a header whose fields are added, changed and taken away by others: everything that nobody named stays as
// it came, octet for octet.
//
// Guarantees: a field that is made here is one field: whatever its value holds, it ends no header and begins no other field
// (RFC 5322 §2.2.3).

/// The lines of a header, field by field.
package struct EditedHeader: Sendable {
    private struct Entry: Sendable {
        /// In lower case; nil: lines that are no field, such as a mailbox file's first.
        let name: String?
        /// With their ends.
        let lines: [UInt8]
    }

    private var entries: [Entry] = []

    /// - Parameter header: as ``HeaderBlock`` measures it.
    package init(_ header: [UInt8]) {
        var end = header.startIndex
        for field in HeaderFields(header).fields {
            if end < field.lines.startIndex {
                entries.append(Entry(name: nil, lines: Array(header[end..<field.lines.startIndex])))
            }
            entries.append(Entry(name: field.name, lines: Array(field.lines)))
            end = field.lines.endIndex
        }
        if end < header.endIndex { entries.append(Entry(name: nil, lines: Array(header[end...]))) }
    }

    /// The whole header, without the empty line behind it.
    package var octets: [UInt8] { entries.flatMap(\.lines) }

    /// Its octets.
    package var size: Int { entries.reduce(0) { $0 + $1.lines.count } }

    /// Name, as it is written, and value of each field: behind the colon, folds included, without the last line end.
    package var fields: [(name: [UInt8], value: [UInt8])] {
        entries.compactMap { entry in
            guard entry.name != nil, let colon = entry.lines.firstIndex(of: 0x3A) else { return nil }
            var (name, value) = (entry.lines[..<colon], entry.lines[(colon + 1)...])
            while let last = name.last, last == 0x20 || last == 0x09 { name = name.dropLast() }
            while let last = value.last, last == 0x0A || last == 0x0D { value = value.dropLast() }
            return (Array(name), Array(value))
        }
    }

    /// A field behind all others.
    package mutating func add(_ name: [UInt8], _ value: [UInt8]) { entries.append(Self.entry(name, value)) }

    /// A field behind so many others; 0: in front of the first; more than there are: behind the last.
    package mutating func insert(_ name: [UInt8], _ value: [UInt8], behind count: Int) {
        let places = entries.indices.filter { entries[$0].name != nil }
        let place = count < places.count ? places[count] : entries.endIndex
        entries.insert(Self.entry(name, value), at: place)
    }

    /// Another value for one of the fields of a name; a field more where there are not so many.
    ///
    /// - Parameters:
    ///   - index: among those of that name that are there now, from 1; 0 is the first too.
    ///   - value: nil takes the field away, if it is there.
    package mutating func change(_ name: [UInt8], at index: Int, to value: [UInt8]?) {
        let key = Self.key(name)
        let places = entries.indices.filter { entries[$0].name == key }
        let wanted = max(1, index) - 1
        guard wanted < places.count else {
            if let value { add(name, value) }
            return
        }
        if let value { entries[places[wanted]] = Self.entry(name, value) } else { entries.remove(at: places[wanted]) }
    }

    private static func key(_ name: [UInt8]) -> String {
        String(decoding: name.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }

    /// - Parameter value: behind the colon; its lines end with CRLF or LF.
    private static func entry(_ name: [UInt8], _ value: [UInt8]) -> Entry {
        var lines = name + [0x3A]
        let pieces = value.filter { $0 != 0x0D && $0 != 0 }.split(separator: 0x0A, omittingEmptySubsequences: false)
        for (number, piece) in pieces.enumerated() {
            // A line of blanks alone may be taken for the end of the header.
            if number > 0, piece.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) { continue }
            if number > 0 {
                lines += [0x0D, 0x0A]
                if piece.first != 0x20, piece.first != 0x09 { lines.append(0x09) }
            }
            lines += piece
        }
        return Entry(name: key(name), lines: lines + [0x0D, 0x0A])
    }
}
