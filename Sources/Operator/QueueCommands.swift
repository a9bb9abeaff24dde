// QueueCommands.swift — `martlet queue …`: look at waiting mail.

package import ArgumentParser
import HTTPClient
import JSON
import Mail

/// The queue of a running relay.
package struct QueueCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "queue",
        abstract: "Look at waiting mail, and say what becomes of it.",
        subcommands: [
            ListQueue.self, ShowMessage.self, PrintContent.self, RetryMessages.self, HoldMessages.self,
            ReleaseMessages.self, ReviveMessages.self, RemoveMessages.self,
        ]
    )

    package init() {}
}

/// One line for each message.
struct ListQueue: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List waiting mail.")

    @OptionGroup var filter: QueueFilterOptions
    @Option(
        parsing: .unconditional,
        help: "queued_at, next_attempt_at or size; with - in front the other way round.",
        completion: .list(["queued_at", "-queued_at", "next_attempt_at", "-next_attempt_at", "size", "-size"])
    )
    var sort: String?
    @Option(help: "At most so many; 0 is all.")
    var limit = 100
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        var query = filter.query
        if let sort { query.append(("sort", sort)) }
        if options.json {
            // One message a line: `jq` reads it, whatever the length of the queue.
            if limit > 0 { query.append(("limit", "\(limit)")) }
            Output.write(try relay.ask("GET", "/v1/queue", query: query, accept: "application/x-ndjson").body)
            return
        }
        var rows: [JSON] = []
        var cursor: String?
        repeat {
            let page = limit > 0 ? min(1000, limit - rows.count) : 1000
            let more = [("limit", "\(page)")] + (cursor.map { [("cursor", $0)] } ?? [])
            let answer = JSON(try relay.ask("GET", "/v1/queue", query: query + more).body)
            rows += answer?["items"]?.elements ?? []
            cursor = answer?["next"]?.string
        } while cursor != nil && (limit == 0 || rows.count < limit)
        print(rows.isEmpty ? "No mail waits." : QueueTable.text(rows, width: Terminal.ofThisProcess().width))
        if cursor != nil { print("… and more; see --limit") }
    }
}

/// The columns of the list.
enum QueueTable {
    /// A shell that completes an id asks for the list.
    static let ids = CompletionKind.shellCommand(
        #"martlet queue list --json --limit 200 2>/dev/null | sed -n 's/.*"id":"\([0-9a-z]*\)".*/\1/p'"#
    )

    static func text(_ messages: [JSON], width: Int? = nil) -> String {
        let head = ["id", "state", "age", "size", "attempts", "next in", "from", "to", "last reply"]
        return Printout.table(head, messages.map(row), width: width)
    }

    private static func row(_ message: JSON) -> [String] {
        func text(_ names: String...) -> String {
            names.lazy.compactMap { message[$0] }.first.map { $0 == .null ? "" : Printout.word($0) } ?? ""
        }
        let now = ClockTime.now()
        func span(_ name: String, _ sign: Int) -> String {
            guard let second = message[name]?.string.flatMap(ClockTime.second) else { return "" }
            return Printout.span(seconds: max(0, (second - now) * sign))
        }
        let size = message["size_bytes"]?.integer.map { Printout.size(bytes: $0) } ?? ""
        let sender = text("sender")
        return [
            text("id"), text("state"), span("queued_at", -1), size, text("attempts"), span("next_attempt_at", 1),
            sender.isEmpty ? "<>" : sender, recipients(message),
            Printout.shortened(message["last_reply"]?["text"].map(Printout.word) ?? "", 60),
        ]
    }

    private static func recipients(_ message: JSON) -> String {
        guard let list = message["recipients"] else {
            return message["to"].map(Printout.word) ?? message["domain"].map(Printout.word) ?? ""
        }
        guard case .array(let all) = list else { return Printout.word(list) }
        let names = all.prefix(2).map { $0["address"]?.string ?? Printout.word($0) }
        let count = message["recipient_count"]?.integer ?? all.count
        return names.joined(separator: ", ") + (count > 2 ? " and \(count - 2) more" : "")
    }
}

/// Everything about one message.
struct ShowMessage: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show one message: envelope, recipients, attempts, and what it waits for."
    )

    @Argument(help: "The id, as logs and lists show it.", completion: QueueTable.ids)
    var id: String
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        try show(try relay.ask("GET", "/v1/queue/\(PercentEncoding.encoded(id))")) { Printout.object($0) }
    }
}

/// The message itself.
struct PrintContent: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "cat",
        abstract: "Print a message as it will be sent: message/rfc822 on standard output."
    )

    @Argument(help: "The id, as logs and lists show it.", completion: QueueTable.ids)
    var id: String
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        let path = "/v1/queue/\(PercentEncoding.encoded(id))/content"
        Output.write(try relay.ask("GET", path, accept: "message/rfc822").body)
    }
}
