// CSV.swift — tables as text (RFC 4180): a line of cells written, and what others wrote read as octets. Pure.
//
// Guarantee: a cell that is written so is read back as it was, outer blanks aside; a spreadsheet takes none of them for a formula.

/// Tables as text.
package enum CSV {
    /// The media type (RFC 7111).
    package static let type = "text/csv"
    /// Cells of a line.
    private static let most = 100
    private static let quote = UInt8(ascii: "\"")
    private static let comma = UInt8(ascii: ",")
    private static let (lineFeed, carriageReturn): (UInt8, UInt8) = (0x0A, 0x0D)
    /// What some programs begin a text in UTF-8 with.
    private static let mark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// Why a text is no table.
    package struct Fault: Error, Hashable, Sendable, CustomStringConvertible {
        /// Where it is, from 1.
        package let line: Int
        /// The end of a sentence that begins with the line.
        package let description: String
    }

    /// The cells of a line.
    package struct Record: Hashable, Sendable {
        /// Where it begins, from 1: lines are counted as an editor shows them.
        package let line: Int
        /// Without the blanks around them.
        package let cells: [String]
    }

    /// A line with its end.
    ///
    /// A cell that begins as a formula does gets a blank in front, since people open such files with spreadsheets.
    package static func line(_ cells: [String]) -> [UInt8] {
        cells.map { cell($0) }.joined(separator: [comma]) + [lineFeed]
    }

    private static func cell(_ text: String) -> [UInt8] {
        let octets = Array(text.utf8)
        let isFormula = octets.first.map { [0x3D, 0x2B, 0x2D, 0x40].contains($0) } ?? false
        let shown = isFormula ? [0x20] + octets : octets
        // A mark in front of the first cell would be one of the text, and not of the cell.
        let needsQuotes = shown.contains { [quote, comma, lineFeed, carriageReturn].contains($0) }
        guard needsQuotes || shown.starts(with: mark) else { return shown }
        return [quote] + shown.flatMap { $0 == quote ? [quote, quote] : [$0] } + [quote]
    }

    /// Whether a text ends inside a cell: the next line belongs to it.
    package static func isOpen(_ text: some StringProtocol) -> Bool {
        text.utf8.reduce(false) { $1 == quote ? !$0 : $0 }
    }

    /// The lines of a table; those without any text are left out.
    ///
    /// Line ends are those of any system, a mark for UTF-8 in front is passed over.
    ///
    /// - Throws: for what is no UTF-8, a cell that has no end, a hundred cells, and more than `limit` records.
    package static func records(in octets: [UInt8], atMost limit: Int) throws(Fault) -> [Record] {
        var reader = Reader(octets[...])
        var records: [Record] = []
        while let record = try reader.next() {
            guard record.cells.contains(where: { !$0.isEmpty }) else { continue }
            guard records.count < limit else {
                throw Fault(line: record.line, description: "is one too many: \(limit) are taken at once")
            }
            records.append(record)
        }
        return records
    }

    private struct Reader {
        private var rest: ArraySlice<UInt8>
        private var line = 1

        init(_ octets: ArraySlice<UInt8>) {
            rest = octets.starts(with: mark) ? octets.dropFirst(3) : octets
        }

        mutating func next() throws(Fault) -> Record? {
            guard !rest.isEmpty else { return nil }
            let begin = line
            var (cells, cell, isQuoted): ([String], [UInt8], Bool) = ([], [], false)
            while let octet = rest.popFirst() {
                if octet == quote {
                    if isQuoted, rest.first == quote {
                        cell.append(quote)
                        rest = rest.dropFirst()
                    } else {
                        isQuoted.toggle()
                    }
                } else if octet == comma, !isQuoted {
                    guard cells.count < most else { throw Fault(line: begin, description: "has too many cells") }
                    cells.append(try text(cell, begin))
                    cell = []
                } else if octet == lineFeed || octet == carriageReturn {
                    if octet == carriageReturn, rest.first == lineFeed { rest = rest.dropFirst() }
                    line += 1
                    guard isQuoted else { return Record(line: begin, cells: cells + [try text(cell, begin)]) }
                    cell.append(lineFeed)
                } else {
                    cell.append(octet)
                }
            }
            guard !isQuoted else { throw Fault(line: begin, description: "begins a cell in quotes that has no end") }
            return Record(line: begin, cells: cells + [try text(cell, begin)])
        }

        private func text(_ cell: [UInt8], _ line: Int) throws(Fault) -> String {
            guard let text = String(validating: cell, as: UTF8.self) else {
                throw Fault(line: line, description: "is no UTF-8")
            }
            return String(text.trimmed)
        }
    }
}
