// EventCommands.swift — `martlet events`, `history` and `trace`: what happened, of a running relay.

package import ArgumentParser
import Glibc
import HTTPClient
import JSON
import Mail

/// Events as they come.
package struct EventsCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Print events, one a line; with --follow as they happen."
    )

    @Option(help: "Events behind this number; without it the newest, or those to come with --follow.")
    var after: Int?
    @Option(parsing: .singleValue, help: "Only these, such as delivery.bounced; several by repeating it.")
    var type: [String] = []
    @Option(help: "A recipient, or *@domain.")
    var recipient: String?
    @Option(help: "The envelope sender; <> for reports.")
    var sender: String?
    @Option(help: "At most so many.")
    var limit = 100
    @Flag(help: "Wait for more until interrupted.")
    var follow = false
    @OptionGroup package var options: RelayOptions

    package init() {}

    package func run(_ relay: Relay) throws {
        var query = type.map { ("type", $0) }
        if let recipient { query.append(("recipient", recipient)) }
        if let sender { query.append(("sender", sender)) }
        var place = try after ?? start(relay)
        var left = follow ? Int.max : limit
        while left > 0 {
            let wait = follow ? [("wait_s", "30")] : []
            let more = [("after", "\(place)"), ("limit", "\(min(left, 1000))")] + wait
            guard let answer = JSON(try relay.ask("GET", "/v1/events", query: query + more).body) else { return }
            let items = answer["items"]?.elements ?? []
            for item in items { print(options.json ? item.text : EventLine.text(item)) }
            left -= items.count
            place = answer["last"]?.integer ?? place
            if !follow, answer["is_at_end"]?.bool ?? true { return }
        }
    }

    /// Where the newest begin, or end.
    private func start(_ relay: Relay) throws -> Int {
        let answer = JSON(try relay.ask("GET", "/v1/events", query: [("limit", "1")]).body)
        let newest = answer?["newest"]?.integer ?? 0
        return follow ? newest : max(0, newest - limit)
    }
}

/// Messages of the past.
package struct HistoryCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "Search the mail of the last days: what became of it."
    )

    @OptionGroup var filter: HistoryFilterOptions
    @Option(help: "At most so many.")
    var limit = 50
    @OptionGroup package var options: RelayOptions

    package init() {}

    package func run(_ relay: Relay) throws {
        let items = try History.search(relay, filter.query, limit)
        if options.json {
            for item in items { print(item.text) }
            return
        }
        let rows = items.flatMap(History.rows)
        let head = ["accepted", "id", "from", "to", "status", "attempts", "last reply"]
        print(rows.isEmpty ? "Nothing is known." : Printout.table(head, rows, width: Terminal.ofThisProcess().width))
    }
}

/// The life of a message.
package struct TraceCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Tell what happened to a message, or to the mail for an address."
    )

    @Argument(help: "A queue id, a Message-ID, or an address.")
    var what: String
    @Option(help: "Messages at most, the newest.")
    var limit = 5
    @OptionGroup package var options: RelayOptions

    package init() {}

    package func run(_ relay: Relay) throws {
        var found: [JSON] = []
        for id in try ids(relay) {
            if let message = JSON(try relay.ask("GET", "/v1/messages/\(id)").body) { found.append(message) }
        }
        guard !found.isEmpty else {
            throw OperatorError(
                "nothing is known of \(what): it never was here, or is older than history_days in events.ini; martlet history searches",
                status: EX_NOUSER
            )
        }
        if options.json {
            for message in found { print(message.text) }
        } else {
            print(found.map(Self.text).joined(separator: "\n\n"))
        }
    }

    private func ids(_ relay: Relay) throws -> [String] {
        if QueueID(what) != nil { return [what] }
        // Both look like addresses: angle brackets tell them apart, and else what is found.
        var tries = [("header_message_id", what)]
        if EmailAddress(what) != nil {
            tries = [("recipient", what), ("header_message_id", "<\(what)>"), ("sender", what)]
        }
        for condition in tries {
            let items = try History.search(relay, [condition], limit)
            if !items.isEmpty { return items.compactMap { $0["id"]?.string } }
        }
        return []
    }

    private static func text(_ message: JSON) -> String {
        func word(_ name: String) -> String { message[name]?.string ?? "–" }
        var lines = ["\(word("id"))  from \(word("sender"))  \(word("header_message_id"))"]
        let nodes = message["nodes"]?.elements.compactMap(\.string) ?? []
        if !nodes.isEmpty { lines.append("  known to \(nodes.joined(separator: ", "))") }
        lines += (message["timeline"]?.elements ?? []).map { "  " + EventLine.text($0, isOfMessage: true) }
        if let queue = message["queue"], queue != .null {
            let because = queue["waiting_because"]?.elements.compactMap { $0["text"]?.string } ?? []
            lines.append(
                "  in the queue: \(queue["state"]?.string ?? "")\(because.isEmpty ? "" : ", ")"
                    + because.joined(separator: "; ")
            )
        }
        return lines.joined(separator: "\n")
    }
}

/// Conditions of the search.
struct HistoryFilterOptions: ParsableArguments {
    @Option(help: "All in short words, as the page takes them: to:ann@example.com status:bounced age<7d.")
    var filter: String?
    @Option(help: "The domain of sender or recipient.")
    var domain: String?
    @Option(help: "The envelope sender; <> for reports.")
    var sender: String?
    @Option(help: "A recipient, or *@domain.")
    var recipient: String?
    @Option(help: "The route that was taken, as routes.ini calls it.")
    var route: String?
    @Option(parsing: .singleValue, help: "waiting, deferred, delivered, bounced, suppressed or removed.")
    var status: [String] = []
    @Option(help: "What a failure was about: greylisted, connect_timeout …")
    var reason: String?
    @Option(name: .customLong("class"), help: "What the reply meant: invalid_recipient, spam_block … (see classify).")
    var replyClass: String?
    @Option(help: "An SMTP code that was answered, such as 550.")
    var code: Int?
    @Option(help: "The tag, see tag_header in events.ini.")
    var tag: String?
    @Option(name: .customLong("message-id"), help: "The header field Message-ID.")
    var messageID: String?
    @Option(help: "Accepted since this time, such as 2027-01-31T12:00:00Z.")
    var since: String?
    @Option(help: "Accepted before this time.")
    var before: String?

    var query: [(String, String)] {
        let texts = [
            ("q", filter), ("domain", domain), ("sender", sender), ("recipient", recipient), ("route", route),
            ("reason", reason),
            ("reply_class", replyClass),
            ("code", code.map { "\($0)" }), ("tag", tag), ("header_message_id", messageID), ("since", since),
            ("before", before),
        ]
        return texts.compactMap { name, value in value.map { (name, $0) } } + status.map { ("status", $0) }
    }
}

private enum History {
    /// Pages of the search, until there are enough.
    static func search(_ relay: Relay, _ query: [(String, String)], _ limit: Int) throws -> [JSON] {
        var items: [JSON] = []
        var cursor: String?
        repeat {
            let more = [("limit", "\(min(1000, limit - items.count))")] + (cursor.map { [("cursor", $0)] } ?? [])
            let answer = JSON(try relay.ask("GET", "/v1/history", query: query + more).body)
            items += answer?["items"]?.elements ?? []
            cursor = answer?["next"]?.string
        } while cursor != nil && items.count < limit
        return items
    }

    /// A row for each recipient.
    static func rows(_ message: JSON) -> [[String]] {
        func word(_ value: JSON?) -> String { value.map { $0 == .null ? "" : Printout.word($0) } ?? "" }
        return (message["recipients"]?.elements ?? []).map { recipient in
            [
                word(message["accepted_at"]), word(message["id"]), word(message["sender"]), word(recipient["address"]),
                word(recipient["status"]), word(recipient["attempts"]), word(recipient["reply"]),
            ]
        }
    }
}

/// An event on a line.
private enum EventLine {
    /// - Parameter isOfMessage: the message is known already.
    static func text(_ event: JSON, isOfMessage: Bool = false) -> String {
        let data = event["data"] ?? .null
        var words = [event["time"]?.string ?? "", event["type"]?.string ?? ""]
        func add(_ name: String, _ value: JSON?) {
            if let value, value != .null { words.append("\(name)=\(Printout.word(value))") }
        }
        if !isOfMessage {
            add("id", data["message_id"])
            add("from", data["sender"])
        }
        add("to", data["recipient"])
        add("mx", data["mx"]?["host"])
        add("ip", data["mx"]?["ip"])
        if let smtp = data["smtp"] {
            let said = [smtp["code"], smtp["enhanced"], smtp["text"]].compactMap { $0.map(Printout.word) }
            words.append("reply=\"\(said.joined(separator: " "))\"")
        }
        for name in ["reason", "attempt", "next_attempt_at", "actor", "subject", "text", "count"] {
            add(name, data[name])
        }
        let stages = (data["stage_ms"]?.members ?? []).map { "\($0.name):\(Printout.word($0.value))" }
        if !stages.isEmpty { words.append("stage_ms=\(stages.joined(separator: ","))") }
        return words.joined(separator: " ")
    }
}
