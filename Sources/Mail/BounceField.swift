// BounceField.swift — the fields of `outbound.bounce_message`: the source document's, and those of later Haraka.

/// A name that may stand in braces in the text of a failure report.
package enum BounceField: String, Hashable, Sendable, CaseIterable {
    case pid, date, me, from, msgid, to, reason
    /// Every recipient that failed, with commas between.
    case recipients
    /// The Subject of the message.
    case subject
    /// A line for each recipient that failed: the address, a colon, the reason.
    case extendedReason = "extended_reason"

    /// What stands in braces, looks like a field and is none, with the number of its line, counted from 1; each name once,
    /// and at most ten.
    package static func unknown(in text: String) -> [(line: Int, name: String)] {
        var found: [(line: Int, name: String)] = []
        var (line, start) = (1, text.utf8.startIndex)
        var open: String.Index?
        while start < text.utf8.endIndex, found.count < 10 {
            let octet = text.utf8[start]
            let next = text.utf8.index(after: start)
            switch octet {
            case UInt8(ascii: "\n"): (line, open) = (line + 1, nil)
            case UInt8(ascii: "{"): open = next
            case UInt8(ascii: "}"):
                guard let begin = open else { break }
                open = nil
                let name = String(text[begin..<start])
                guard !name.isEmpty, BounceField(rawValue: name) == nil, !found.contains(where: { $0.name == name })
                else { break }
                found.append((line, name))
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"): break
            // Anything else in braces is text.
            default: open = nil
            }
            start = next
        }
        return found
    }
}
