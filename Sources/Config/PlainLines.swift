// PlainLines.swift — files that are a list, one item a line: `me`, `relay_acl_allow`.

/// The lines of a file that is a list: blank ones and comments left out.
enum PlainLines {
    struct Line {
        /// Counted from 1.
        let line: Int
        let text: String
    }

    static func of(_ text: String) -> [Line] {
        var found: [Line] = []
        for (index, raw) in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .enumerated()
        {
            let line = String(Substring(raw))
            let comment = line.utf8.indices.first { position in
                guard line.utf8[position] == UInt8(ascii: ";") || line.utf8[position] == UInt8(ascii: "#") else {
                    return false
                }
                guard position > line.utf8.startIndex else { return true }
                let before = line.utf8[line.utf8.index(before: position)]
                return before == UInt8(ascii: " ") || before == UInt8(ascii: "\t")
            }
            let words = line[..<(comment ?? line.endIndex)].unicodeScalars
                // characters: none, these are scalars
                .split { $0 == " " || $0 == "\t" || $0 == "\r" || $0 == "\u{FEFF}" }
                .map { Substring($0) }
            if !words.isEmpty { found.append(Line(line: index + 1, text: words.joined(separator: " "))) }
        }
        return found
    }
}
