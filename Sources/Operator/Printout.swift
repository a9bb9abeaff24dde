// Printout.swift — answers for people: tables with columns as wide as they need to be, and objects as `name: value`.
//
// The form is not stable; programs take `--json`. Nothing that came from a peer can reach the terminal as a control
// character.

package import JSON
import Mail

/// Text for a terminal.
package enum Printout {
    /// What is shown first, where it occurs; the rest follows by name.
    private static let first = [
        "id", "match", "name", "key", "state", "status", "value", "from", "sender", "to", "recipient", "exchange",
        "port",
        "priority", "mx",
    ]

    /// Columns that are not made narrower than this, as long as others can be.
    private static let narrowest = 6
    /// Columns that are never shortened: people copy what stands in them.
    private static let whole = ["id", "match"]

    /// Rows below a head; columns without any value are left out.
    ///
    /// - Parameter width: columns of the terminal: the widest cells are shortened until a row fits; nil shows all.
    package static func table(_ head: [String], _ rows: [[String]], width: Int? = nil) -> String {
        let used = head.indices.filter { column in rows.contains { !$0[column].isEmpty } }
        let lines = ([head.map { $0.uppercasedASCII }] + rows).map { row in used.map { clean(row[$0]) } }
        let natural = used.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        let isWhole = used.map { column in whole.contains { head[column].isSame(octets: $0) } }
        let widths = width.map { fitted(natural, into: $0 - 2 * max(0, used.count - 1), isWhole) } ?? natural
        return lines.map { line in
            var text = ""
            for (column, cell) in line.enumerated() {
                let cell = shortened(cell, widths[column])
                text += cell
                if column < line.count - 1 { text += String(repeating: " ", count: widths[column] - cell.count + 2) }
            }
            return text
        }
        .joined(separator: "\n")
    }

    /// Takes from the widest columns what is too much.
    private static func fitted(_ natural: [Int], into width: Int, _ isWhole: [Bool]) -> [Int] {
        var widths = natural
        var excess = widths.reduce(0, +) - width
        let narrowed = widths.indices.filter { !isWhole[$0] }
        while excess > 0, let widest = narrowed.max(by: { widths[$0] < widths[$1] }), widths[widest] > narrowest {
            widths[widest] -= 1
            excess -= 1
        }
        return widths
    }

    /// A text that ends in `…` where it is too long.
    package static func shortened(_ text: String, _ most: Int) -> String {
        // characters: columns of a terminal are nearer to them than to bytes
        text.count > most ? text.prefix(max(0, most - 1)) + "…" : text
    }

    /// A table of objects: a column for each member of the first kind of name, others behind.
    package static func table(_ objects: [JSON], width: Int? = nil) -> String {
        var names: Set<String> = []
        for case .object(let members) in objects { names.formUnion(members.map(\.name)) }
        let head = ordered(names)
        return table(head, objects.map { object in head.map { object[$0].map(word) ?? "" } }, width: width)
    }

    /// A table of objects as wide as the terminal, or a word where there are none.
    static func list(_ objects: [JSON], or empty: String) -> String {
        objects.isEmpty ? empty : table(objects, width: Terminal.ofThisProcess().width)
    }

    /// An object, its members one a line; lists of objects as tables below their name.
    ///
    /// - Parameter width: columns of the terminal: objects whose table is wider stand below each other, a member a line.
    package static func object(_ value: JSON, indent: String = "", width most: Int? = nil) -> String {
        guard case .object(let members) = value else { return indent + word(value) }
        var lines: [String] = []
        let names = ordered(Set(members.map(\.name)))
        let width = names.map(\.count).max() ?? 0
        for name in names {
            guard let member = value[name] else { continue }
            switch member {
            case .array(let elements) where elements.contains(where: \.isObject):
                lines.append("\(indent)\(name):")
                lines += list(elements, within: most.map { $0 - indent.utf8.count - 2 }).map { "\(indent)  \($0)" }
            case .object(let inner) where !inner.isEmpty:
                lines.append("\(indent)\(name):")
                lines.append(object(member, indent: indent + "  ", width: most))
            default:
                let gap = String(repeating: " ", count: width - name.count)
                lines.append("\(indent)\(name): \(gap)\(word(member))")
            }
        }
        return lines.joined(separator: "\n")
    }

    /// The lines of a table; or of its objects one by one, where it does not fit.
    private static func list(_ elements: [JSON], within width: Int?) -> [String] {
        let rows = table(elements).split(octet: "\n").map(String.init)
        // characters: columns of a terminal are nearer to them than to bytes
        guard let width, rows.contains(where: { $0.count > width }) else { return rows }
        return elements.flatMap { element in
            object(element, width: width - 2).split(octet: "\n").enumerated().map { ($0 == 0 ? "- " : "  ") + $1 }
        }
    }

    /// A value on one line.
    package static func word(_ value: JSON) -> String {
        switch value {
        case .null: "-"
        case .bool(let value): value ? "yes" : "no"
        case .integer(let number): "\(number)"
        case .number(let number): "\((number * 1000).rounded() / 1000)"
        case .string(let text): clean(text)
        case .array(let elements): elements.map(word).joined(separator: ", ")
        case .object(let members):
            ordered(Set(members.map(\.name))).compactMap { name in value[name].map { "\(name)=\(word($0))" } }
                .joined(separator: " ")
        }
    }

    /// A span of time in its two largest units: `3d 4h`, `5m 2s`.
    package static func span(seconds: Int) -> String {
        let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")]
        guard let start = units.firstIndex(where: { seconds >= $0.0 }) else { return "0s" }
        let (size, name) = units[start]
        let rest = seconds % size
        guard start + 1 < units.count, rest >= units[start + 1].0 else { return "\(seconds / size)\(name)" }
        return "\(seconds / size)\(name) \(rest / units[start + 1].0)\(units[start + 1].1)"
    }

    /// A number of bytes with three digits at most.
    package static func size(bytes: Int) -> String {
        var value = Double(bytes)
        for unit in ["B", "K", "M", "G"] {
            if value < 1000 { return unit == "B" ? "\(bytes)" : "\((value * 10).rounded() / 10)\(unit)" }
            value /= 1024
        }
        return "\((value * 10).rounded() / 10)T"
    }

    /// Without control characters, which a terminal would obey.
    package static func clean(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isControl) else { return text }
        return String(String.UnicodeScalarView(text.unicodeScalars.map { isControl($0) ? "?" : $0 }))
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
    }

    private static func ordered(_ names: Set<String>) -> [String] {
        first.filter(names.contains) + names.subtracting(first).sorted()
    }
}

extension JSON {
    fileprivate var isObject: Bool {
        guard case .object = self else { return false }
        return true
    }
}
