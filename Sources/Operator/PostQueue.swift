// PostQueue.swift — `mailq` and `postqueue -p|-j|-f|-i|-s`, `postsuper -d|-h|-H|-r`: Postfix's words over our API.

import ArgumentParser
import Glibc
import HTTPClient
import JSON
import Mail

/// Looking and flushing.
enum PostQueue {
    static func run(_ arguments: [String]) throws {
        let relay = try Postfix.relay()
        switch (arguments.first, arguments.dropFirst().first) {
        case ("-p", nil): try list()
        case ("-j", nil): try listAsJSON(relay)
        case ("-f", nil): try relay.ask("POST", "/v1/queue/flush", body: [:])
        case ("-i", let id?): try relay.ask("POST", "/v1/queue/\(PercentEncoding.encoded(id))/retry")
        case ("-s", let site?): try relay.ask("POST", "/v1/queue/flush", body: ["domain": .string(site)])
        default: throw OperatorError("usage: postqueue -p | -j | -f | -i ID | -s DOMAIN", status: EX_USAGE)
        }
    }

    /// As Postfix's mailq.
    static func list() throws {
        let messages = try Postfix.messages(try Postfix.relay())
        guard !messages.isEmpty else { return print("Mail queue is empty") }
        print("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------")
        var bytes = 0
        for message in messages {
            bytes += message.size
            let mark = message.state == "in_progress" ? "*" : message.state == "held" ? "!" : " "
            let sender = message.sender.isEmpty ? "MAILER-DAEMON" : message.sender
            print("\(message.id)\(mark) \(Postfix.padded("\(message.size)", 7)) \(message.arrival) \(sender)")
            if !message.reason.isEmpty { print("\(String(repeating: " ", count: 4))(\(message.reason))") }
            for recipient in message.recipients { print("\(String(repeating: " ", count: 41))\(recipient)") }
            print()
        }
        let word = messages.count == 1 ? "Request" : "Requests"
        print("-- \(bytes / 1024) Kbytes in \(messages.count) \(word).")
    }

    /// One object a line, with the members that `postqueue -j` has.
    private static func listAsJSON(_ relay: Relay) throws {
        for message in try Postfix.messages(relay) {
            let reasons = Postfix.reasons(of: message, relay)
            let recipients = message.recipients.map { address -> JSON in
                var recipient: JSON = ["address": .string(address)]
                if let reason = reasons[address] { recipient["delay_reason"] = .string(reason) }
                return recipient
            }
            let names = ["in_progress": "active", "held": "hold", "temp_failed": "deferred"]
            let line: JSON = [
                "queue_name": .string(names[message.state] ?? "incoming"), "queue_id": .string(message.id),
                "arrival_time": .count(message.arrivalSecond), "message_size": .count(message.size),
                "forced_expire": false, "sender": .string(message.sender.isEmpty ? "MAILER-DAEMON" : message.sender),
                "recipients": .array(recipients),
            ]
            print(line.text)
        }
    }
}

/// Removing and holding.
enum PostSuper {
    static func run(_ arguments: [String]) throws {
        var rest = arguments[...]
        var done = 0
        guard !rest.isEmpty else {
            throw OperatorError("usage: postsuper -d|-h|-H|-r ID|ALL|- …", status: EX_USAGE)
        }
        let relay = try Postfix.relay()
        while let flag = rest.popFirst() {
            guard let action = ["-d": "remove", "-h": "hold", "-H": "release", "-r": "retry"][flag] else {
                // Names of queues may follow; there is one queue here.
                if flag.starts(withOctets: "-") { throw OperatorError("unknown option \(flag)", status: EX_USAGE) }
                continue
            }
            guard let id = rest.popFirst() else { throw OperatorError("\(flag) needs an ID or ALL", status: EX_USAGE) }
            switch id {
            case "ALL":
                try relay.ask("POST", "/v1/queue/actions", body: ["action": .string(action), "all": true])
            case "-":
                let text = String(decoding: Output.readAll(), as: UTF8.self)
                for id in text.filledLines.flatMap(\.words) { done += act(relay, action, String(id)) }
            default:
                done += act(relay, action, id)
            }
        }
        if done > 0 { Output.complain("done: \(done) \(done == 1 ? "message" : "messages")", by: "postsuper") }
    }

    /// An unknown id is passed over, as Postfix does.
    private static func act(_ relay: Relay, _ action: String, _ id: String) -> Int {
        // mailq marks ids with * or !.
        let id = String(id.unicodeScalars.filter { $0 != "*" && $0 != "!" })
        do {
            if action == "remove" {
                try relay.ask("DELETE", "/v1/queue/\(PercentEncoding.encoded(id))")
            } else {
                try relay.ask("POST", "/v1/queue/\(PercentEncoding.encoded(id))/\(action)")
            }
            return 1
        } catch {
            Output.complain("\(id): \(error)", by: "postsuper")
            return 0
        }
    }
}

/// What both need.
enum Postfix {
    /// One message of the list.
    struct Message {
        let id: String
        let state: String
        let size: Int
        let sender: String
        let recipients: [String]
        let reason: String
        /// Seconds since 1970.
        let arrivalSecond: Int

        /// `Sun Nov 22 18:00:00`, in the zone of the machine.
        var arrival: String {
            var second = time_t(arrivalSecond)
            var parts = tm()
            localtime_r(&second, &parts)
            var text = [CChar](repeating: 0, count: 64)
            strftime(&text, 64, "%a %b %d %H:%M:%S", &parts)
            return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }

    /// The relay on this machine: these commands have no options for another.
    static func relay() throws -> Relay { try RelayOptions.parse([]).relay() }

    static func messages(_ relay: Relay) throws -> [Message] {
        let answer = try relay.ask("GET", "/v1/queue", accept: "application/x-ndjson")
        return answer.body.split(octet: "\n").compactMap { JSON(Array($0)).flatMap(message) }
    }

    private static func message(_ value: JSON) -> Message? {
        guard let id = value["id"]?.string else { return nil }
        let recipients = value["recipients"]?.elements ?? []
        let reply = value["last_reply"]?["text"]?.string
        let sender = Printout.clean(value["sender"]?.string ?? "").unicodeScalars.filter { $0 != "<" && $0 != ">" }
        return Message(
            id: id,
            state: value["state"]?.string ?? "",
            size: value["size_bytes"]?.integer ?? 0,
            sender: String(sender),
            recipients: recipients.map { Printout.clean($0["address"]?.string ?? $0.string ?? "") },
            reason: reply.map(Printout.clean) ?? "",
            arrivalSecond: value["queued_at"]?.string.flatMap(ClockTime.second) ?? 0
        )
    }

    /// What was last said to each recipient; the list knows the message's last reply alone, so that messages for
    /// several are asked about one by one.
    static func reasons(of message: Message, _ relay: Relay) -> [String: String] {
        guard !message.reason.isEmpty else { return [:] }
        let all = Dictionary(message.recipients.map { ($0, message.reason) }) { first, _ in first }
        guard message.recipients.count > 1,
            let answer = try? relay.ask("GET", "/v1/queue/\(PercentEncoding.encoded(message.id))"),
            let recipients = JSON(answer.body)?["recipients"]?.elements
        else { return all }
        var own: [String: String] = [:]
        for recipient in recipients {
            guard let address = recipient["address"]?.string, let reply = recipient["last_reply"]?["text"]?.string
            else {
                continue
            }
            own[Printout.clean(address)] = Printout.clean(reply)
        }
        return own.isEmpty ? all : own
    }

    static func padded(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }
}
