// SuppressionTable.swift — the list as a table in CSV: which columns there are, and what a line of a file says of them. Pure.

import Mail

/// The columns of the list.
package enum SuppressionTable {
    /// In the order in which they are written.
    package static let columns = unnamed + ["tag"]
    /// In the order in which they are read where a file does not name its own: a comma too many in a note is no tag.
    package static let unnamed = ["target", "sender_domain", "reason", "created_at", "expires_at", "note"]
    /// When a line came to the list is said by the list alone.
    private static let passedOver = "created_at"
    /// What lists of others call the address.
    private static let otherNames = ["email", "address", "recipient"]

    /// The first line of a table.
    package static var header: [UInt8] { CSV.line(columns) }

    /// The columns that a first line names; nil: it is a line like the others.
    package static func columns(named cells: [String]) -> [String]? {
        let names = cells.map(\.lowercasedASCII)
        guard let first = names.first, (columns + otherNames).contains(where: { $0.isSame(octets: first) }) else {
            return nil
        }
        return names.map { name in otherNames.contains { $0.isSame(octets: name) } ? columns[0] : name }
    }

    /// What a line says: the column and its text, without those that say nothing.
    ///
    /// - Returns: nil when it has more cells than there are columns.
    package static func fields(_ cells: [String], columns: [String]) -> [(name: String, text: String)]? {
        guard cells.dropFirst(columns.count).allSatisfy(\.isEmpty) else { return nil }
        return zip(columns, cells).map { (name: $0, text: $1) }
            .filter { !$0.name.isSame(octets: passedOver) && !$0.text.isEmpty }
    }
}

extension Suppression {
    /// A line of the table, with its end.
    package var csv: [UInt8] {
        CSV.line([
            target, scope.sender?.name ?? "", reason.rawValue, created.rfc3339, expires?.rfc3339 ?? "", note ?? "",
            scope.tag ?? "",
        ])
    }
}
