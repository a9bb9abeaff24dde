// JSON+Writing.swift — a value as text: without white space, or on lines for people.

extension JSON {
    /// The value as text, without white space.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        write(to: &bytes)
        return bytes
    }

    /// The value as text, without white space.
    package var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The value on lines, indented by two blanks, with a line end behind it.
    package var lines: [UInt8] {
        var bytes: [UInt8] = []
        write(to: &bytes, indent: 0)
        bytes.append(0x0A)
        return bytes
    }

    /// Appends the value as text, without white space.
    package func write(to bytes: inout [UInt8]) { write(to: &bytes, indent: nil) }

    /// - Parameter indent: the level of nesting; nil: everything on one line.
    private func write(to bytes: inout [UInt8], indent: Int?) {
        switch self {
        case .null: bytes += "null".utf8
        case .bool(let value): bytes += (value ? "true" : "false").utf8
        case .integer(let value): bytes += String(value).utf8
        case .number(let value): bytes += Self.text(of: value).utf8
        case .string(let value): Self.write(value, to: &bytes)
        case .array(let values):
            Self.list("[", "]", values, to: &bytes, indent) { value, bytes in
                value.write(to: &bytes, indent: indent.map { $0 + 1 })
            }
        case .object(let members):
            Self.list("{", "}", members, to: &bytes, indent) { member, bytes in
                Self.write(member.name, to: &bytes)
                bytes += (indent == nil ? ":" : ": ").utf8
                member.value.write(to: &bytes, indent: indent.map { $0 + 1 })
            }
        }
    }

    /// Whole numbers without a fraction: a reader may want them for integers.
    private static func text(of value: Double) -> String {
        guard value.isFinite else { return "null" }
        return Int64(exactly: value).flatMap { abs(value) < 0x1p53 ? "\($0)" : nil } ?? "\(value)"
    }

    private static func list<Element>(
        _ start: StaticString,
        _ end: StaticString,
        _ elements: [Element],
        to bytes: inout [UInt8],
        _ indent: Int?,
        _ write: (Element, inout [UInt8]) -> Void
    ) {
        func newLine(_ level: Int?, _ bytes: inout [UInt8]) {
            guard let level else { return }
            bytes.append(0x0A)
            bytes += repeatElement(0x20, count: 2 * level)
        }
        bytes.append(start.utf8Start[0])
        for (index, element) in elements.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            newLine(indent.map { $0 + 1 }, &bytes)
            write(element, &bytes)
        }
        if !elements.isEmpty { newLine(indent, &bytes) }
        bytes.append(end.utf8Start[0])
    }

    private static func write(_ text: String, to bytes: inout [UInt8]) {
        var text = text
        bytes.append(UInt8(ascii: "\""))
        text.withUTF8 { octets in
            // What stands between two characters that must be escaped is copied at once: most often all of it.
            var start = octets.startIndex
            for (place, octet) in octets.enumerated() where isEscaped(octet) {
                bytes.append(contentsOf: octets[start..<place])
                escape(octet, to: &bytes)
                start = place + 1
            }
            bytes.append(contentsOf: octets[start...])
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static func isEscaped(_ octet: UInt8) -> Bool {
        octet < 0x20 || octet == UInt8(ascii: "\"") || octet == UInt8(ascii: "\\") || octet == 0x7F
    }

    private static func escape(_ octet: UInt8, to bytes: inout [UInt8]) {
        switch octet {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            bytes.append(UInt8(ascii: "\\"))
            bytes.append(octet)
        case 0x0A: bytes += "\\n".utf8
        case 0x0D: bytes += "\\r".utf8
        case 0x09: bytes += "\\t".utf8
        default:
            bytes += "\\u00".utf8
            for digit in [octet >> 4, octet & 15] { bytes.append(digit < 10 ? 0x30 + digit : 0x57 + digit) }
        }
    }
}
