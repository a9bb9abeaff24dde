// TruthTable.swift — policies as tables: whitespace-separated text files, one row per case, `#` comments.
//
//     client      networks        answer
//     192.0.2.1   192.0.2.0/24    yes      # the whole network
//
// A reviewer can read the policy without reading Swift.

/// A table of `Tests/Tables`.
package struct TruthTable: Sendable {
    /// One case: cells by the name of their column.
    package struct Row: Sendable, CustomTestStringConvertibleName {
        /// `file:line cells`, for the test report.
        package let name: String
        private let cells: [String: String]

        init(name: String, cells: [String: String]) {
            self.name = name
            self.cells = cells
        }

        /// The cell; a column that does not exist is an error of the test.
        package func cell(_ column: String) throws -> String {
            guard let cell = cells[column] else { throw TestFileError(name, "no column \(column)") }
            return cell
        }
    }

    package let columns: [String]
    package let rows: [Row]

    /// Reads `Tests/Tables/NAME.table`.
    package static func load(_ name: String) throws -> TruthTable {
        try TruthTable(name: name, text: TestFiles.text("\(TestFiles.root)/Tables/\(name).table"))
    }

    /// Reads a table; the first row names the columns.
    package init(name: String, text: String) throws {
        var columns: [String] = []
        var rows: [Row] = []
        for (index, raw) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let line = raw.prefix { $0 != "#" }
            let words = line.split(whereSeparator: \.isWhitespace).map(String.init)
            if words.isEmpty { continue }
            if columns.isEmpty {
                columns = words
                continue
            }
            let place = "\(name):\(index + 1)"
            guard words.count == columns.count else {
                throw TestFileError(place, "\(words.count) cells, \(columns.count) columns")
            }
            let cells = Dictionary(zip(columns, words)) { first, _ in first }
            rows.append(Row(name: "\(place) \(words.joined(separator: " "))", cells: cells))
        }
        self.columns = columns
        self.rows = rows
    }
}
