// SuppressionCommands.swift — `martlet suppressions …`: addresses and domains that get nothing.
//
// Files are read and written piece by piece, a thousand lines a request, so that a list of a million takes no memory.

package import ArgumentParser
import HTTPClient
import JSON
import Mail
import Suppression

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
    @Option(help: "Only for mail of this tag.")
    var tag: String?
    @Option(help: "manual, hard_bounce, complaint or unsubscribe.")
    var reason: String?
    @Option(help: "For whoever reads the list.")
    var note: String?
    @Option(help: "Until then, such as 2027-01-31T12:00:00Z; default: for ever.")
    var until: String?
    @OptionGroup var which: RehearsalOption
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        let fields = [
            ("target", target), ("sender_domain", senderDomain), ("tag", tag), ("reason", reason), ("note", note),
            ("expires_at", until),
        ]
        let item = JSON.object(of: fields.compactMap { name, value in value.map { (name, .string($0)) } })
        let body: JSON = ["items": .array([item])]
        try show(try relay.ask("POST", place, query: which.query, body: body)) { Printout.object($0) }
    }
}

struct RemoveSuppression: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "remove", abstract: "Take somebody off the list.")

    @Argument(help: "The address or the domain.")
    var target: String
    @Option(name: .customLong("sender-domain"), help: "The line for mail from this domain.")
    var senderDomain: String?
    @Option(help: "The line for mail of this tag.")
    var tag: String?
    @OptionGroup var which: RehearsalOption
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        let scope = [("sender_domain", senderDomain), ("tag", tag)].compactMap { name, value in value.map { (name, $0) }
        }
        try row(relay, "DELETE", place, target, query: scope + which.query)
    }
}

struct ExportSuppressions: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Print the list as CSV: target, sender_domain, reason, created_at, expires_at, note, tag."
    )

    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        var query: [(String, String)]? = [("limit", "\(atOnce)")]
        var isFirst = true
        while let asked = query {
            let page = try relay.ask("GET", place, query: asked, accept: CSV.type)
            // Every page has the names of its columns; a list has them once.
            let header = page.body.firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
            Output.write(isFirst ? page.body : Array(page.body.dropFirst(header)))
            isFirst = false
            let next = page.header("link").flatMap { Self.cursor(in: $0) }
            query = next.map { [("limit", "\(atOnce)"), ("cursor", $0)] }
        }
    }

    /// The cursor in `Link: <…&cursor=…>; rel="next"`.
    private static func cursor(in link: String) -> String? {
        let target = link.split(octet: ">").first ?? ""
        return target.split(octet: "&").lazy.compactMap { $0.rest(behind: "cursor=") }.first.map(String.init)
    }
}

struct ImportSuppressions: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Read a list as CSV from standard input: target first, or with a header as export prints it."
    )

    @OptionGroup var which: RehearsalOption
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        var piece = Piece()
        var (number, header, isFirst) = (0, "", true)
        var figures = (lines: 0, added: 0)
        func send() throws {
            guard piece.count > 0 else { return }
            let answer = try piece.send(relay, header, which.query)
            figures = (figures.lines + answer.lines, figures.added + answer.added)
            piece = Piece()
        }
        while var text = readLine(strippingNewline: true) {
            let begin = number + 1
            number += 1
            // A cell in quotes may have several lines; one without an end must not take all memory.
            while CSV.isOpen(text), text.utf8.count <= Piece.longest, let more = readLine(strippingNewline: true) {
                number += 1
                text += "\n" + more
            }
            guard text.utf8.count <= Piece.longest else {
                throw OperatorError("line \(begin) is too long, or has a quote without its other one", status: 65)
            }
            if isFirst {
                isFirst = false
                let cells = (try? CSV.records(in: Array(text.utf8), atMost: 1))?.first?.cells ?? []
                if SuppressionTable.columns(named: cells) != nil {
                    header = text + "\n"
                    continue
                }
            }
            piece.add(text, begin)
            if piece.count == atOnce { try send() }
        }
        try send()
        print("\(figures.lines) lines, \(figures.added) of them new" + (which.dryRun ? "; nothing is changed" : ""))
    }
}

/// Lines that are sent together.
private struct Piece {
    /// Octets of a line.
    static let longest = 4096
    private(set) var count = 0
    private var text = ""
    private var numbers: (first: Int, last: Int) = (0, 0)

    mutating func add(_ line: String, _ number: Int) {
        guard !line.trimmed.isEmpty else { return }
        if count == 0 { numbers.first = number }
        numbers.last = number
        text += line + "\n"
        count += 1
    }

    func send(_ relay: Relay, _ header: String, _ query: [(String, String)]) throws -> (lines: Int, added: Int) {
        do {
            let table = (type: CSV.type, bytes: Array((header + text).utf8))
            let answer = JSON(try relay.ask("POST", place, query: query, raw: table).body)
            let added = answer?["added"]?.integer ?? 0
            return (added + (answer?["replaced"]?.integer ?? 0), added)
        } catch let error as OperatorError {
            throw OperatorError(
                "lines \(numbers.first) to \(numbers.last) of the file were not taken, nor what follows; mend it and import it again: "
                    + error.description,
                status: error.status
            )
        }
    }
}

/// A change that is only looked at.
struct RehearsalOption: ParsableArguments {
    @Flag(name: .customLong("dry-run"), help: "Only say what would be changed.")
    var dryRun = false

    var query: [(String, String)] { dryRun ? [("dry_run", "true")] : [] }
}
