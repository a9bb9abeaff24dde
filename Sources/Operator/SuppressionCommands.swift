// SuppressionCommands.swift — `martlet suppressions …`: addresses and domains that get nothing.
//
// Files are read and written piece by piece, a thousand lines a request, so that a list of a million takes no memory.

package import ArgumentParser
import HTTPClient
import JSON
import Mail

private let place = "/v1/suppressions"
private let atOnce = 1000

/// The list of a running relay.
package struct SuppressionsCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "suppressions",
        abstract: "Show and change who gets nothing.",
        subcommands: [
            ListSuppressions.self, AddSuppression.self, RemoveSuppression.self, ImportSuppressions.self,
            ExportSuppressions.self,
        ]
    )

    package init() {}
}

private enum Page {
    /// Calls `body` for every page; false ends.
    static func all(_ relay: Relay, _ body: (JSON) throws -> Bool) throws {
        var cursor: String?
        repeat {
            let query = [("limit", "\(atOnce)")] + (cursor.map { [("cursor", $0)] } ?? [])
            guard let answer = JSON(try relay.ask("GET", place, query: query).body) else { return }
            guard try body(answer) else { return }
            cursor = answer["next"]?.string
        } while cursor != nil
    }
}

struct ListSuppressions: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List who gets nothing.")

    @Option(help: "Lines at most.")
    var limit = 100
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        var items: [JSON] = []
        try Page.all(relay) { page in
            items += page["items"]?.elements ?? []
            return items.count < limit
        }
        items = Array(items.prefix(max(0, limit)))
        if options.json { return print((["items": .array(items)] as JSON).text) }
        print(Printout.list(items, or: "Nobody is on the list."))
    }
}

struct AddSuppression: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "add", abstract: "Put somebody on the list.")

    @Argument(help: "An address, or a domain: everybody there.")
    var target: String
    @Option(name: .customLong("sender-domain"), help: "Only for mail from this domain.")
    var senderDomain: String?
    @Option(help: "manual, hard_bounce, complaint or unsubscribe.")
    var reason: String?
    @Option(help: "For whoever reads the list.")
    var note: String?
    @Option(help: "Until then, such as 2027-01-31T12:00:00Z; default: for ever.")
    var until: String?
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        let fields = [
            ("target", target), ("sender_domain", senderDomain), ("reason", reason), ("note", note),
            ("expires_at", until),
        ]
        let item = JSON.object(of: fields.compactMap { name, value in value.map { (name, .string($0)) } })
        try show(try relay.ask("POST", place, body: ["items": .array([item])])) { Printout.object($0) }
    }
}

struct RemoveSuppression: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "remove", abstract: "Take somebody off the list.")

    @Argument(help: "The address or the domain.")
    var target: String
    @Option(name: .customLong("sender-domain"), help: "The line for mail from this domain.")
    var senderDomain: String?
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        try row(relay, "DELETE", place, target, query: senderDomain.map { [("sender_domain", $0)] } ?? [])
    }
}

struct ExportSuppressions: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Print the list as CSV: target, sender_domain, reason, created_at, expires_at, note."
    )

    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        let names = ["target", "sender_domain", "reason", "created_at", "expires_at", "note"]
        print(names.joined(separator: ","))
        try Page.all(relay) { page in
            for item in page["items"]?.elements ?? [] {
                print(names.map { SuppressionCSV.cell(item[$0]?.string ?? "") }.joined(separator: ","))
            }
            return true
        }
    }
}

struct ImportSuppressions: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Read a list as CSV from standard input: target first, or with a header as export prints it."
    )

    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        var names = ["target", "sender_domain", "reason", "created_at", "expires_at", "note"]
        var (items, added, total, line): ([JSON], Int, Int, Int) = ([], 0, 0, 0)
        func send() throws {
            guard !items.isEmpty else { return }
            let answer = JSON(try relay.ask("POST", place, body: ["items": .array(items)]).body)
            added += answer?["added"]?.integer ?? 0
            total += items.count
            items = []
        }
        while let text = readLine(strippingNewline: true) {
            line += 1
            let cells = SuppressionCSV.cells(text)
            if cells.allSatisfy(\.isEmpty) { continue }
            if line == 1, cells[0].lowercasedASCII.isSame(octets: "target") {
                names = cells.map(\.lowercasedASCII)
                continue
            }
            guard text.utf8.count <= 4096 else { throw OperatorError("line \(line) is too long", status: 65) }
            let fields = zip(names, cells).filter { !$0.0.isSame(octets: "created_at") && !$0.1.isEmpty }
            items.append(.object(of: fields.map { ($0.0, .string($0.1)) }))
            if items.count == atOnce { try send() }
        }
        try send()
        print("\(total) lines, \(added) of them new")
    }
}

/// Lines of CSV (RFC 4180), without line ends inside a cell.
enum SuppressionCSV {
    private static let quote = UInt8(ascii: "\"")

    /// A cell as it is written.
    ///
    /// A cell that begins as a formula does gets a blank in front, since people open such files with spreadsheets.
    static func cell(_ text: String) -> String {
        let octets = Array(text.utf8)
        let isFormula = octets.first.map { [0x3D, 0x2B, 0x2D, 0x40].contains($0) } ?? false
        let shown = isFormula ? [0x20] + octets : octets
        guard shown.contains(where: { $0 == quote || $0 == UInt8(ascii: ",") }) else {
            return String(decoding: shown, as: UTF8.self)
        }
        return String(
            decoding: [quote] + shown.flatMap { $0 == quote ? [quote, quote] : [$0] } + [quote],
            as: UTF8.self
        )
    }

    /// The cells of a line, without blanks around them.
    static func cells(_ line: String) -> [String] {
        var (cells, cell, isQuoted): ([String], [UInt8], Bool) = ([], [], false)
        let octets = Array(line.utf8.filter { $0 != 0x0D })
        var place = 0
        while place < octets.count {
            let octet = octets[place]
            place += 1
            if octet == quote {
                if isQuoted, place < octets.count, octets[place] == quote {
                    cell.append(quote)
                    place += 1
                } else {
                    isQuoted.toggle()
                }
            } else if octet == UInt8(ascii: ","), !isQuoted {
                cells.append(String(String(decoding: cell, as: UTF8.self).trimmed))
                cell = []
            } else {
                cell.append(octet)
            }
        }
        return cells + [String(String(decoding: cell, as: UTF8.self).trimmed)]
    }
}
