// PostfixFormat+Sessions.swift — clients that are refused, come and go, in Postfix's own words: what fail2ban's filter,
// pflogsumm and postfix_exporter look for.
//
//     NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 550 5.7.1 <b@x>: Relay access denied; from=<a@y> to=<b@x> …
//     warning: unknown[192.0.2.1]: SASL PLAIN authentication failed: authentication failure, sasl_username=alice
//
// Guarantees: the address in brackets behind the first `from` is the client's, whatever it says of itself; what stands in
// angle brackets holds none.

extension PostfixFormat {
    /// Our replies that Postfix's readers know by other words; a test holds them against those that we say.
    static let words: [String: String] = [
        "Relaying denied": "Relay access denied",
        "Sender domain is not one of ours": "Sender address rejected: Access denied",
        "Sender address does not belong to the login": "Sender address rejected: not owned by user",
        "From address does not belong to the login": "Sender address rejected: not owned by user",
        "Message too big": "Message size exceeds fixed limit",
        "Too many recipients": "Error: too many recipients",
        "Encryption required for authentication": "Error: must issue a STARTTLS command first",
    ]
    /// Replies that end a session for what came before them.
    static let manyErrors: Set<String> = [
        "Too many errors", "Too many authentication failures", "Too many commands without a message",
    ]
    /// Replies to somebody who spoke out of turn.
    static let pipelining: Set<String> = [
        "Wait for the greeting before you speak", "Nothing may follow STARTTLS before the handshake",
    ]
    /// Replies to somebody who does not speak SMTP.
    static let foreign: Set<String> = ["This is an SMTP server"]

    /// The lines of an event; nil for one that Postfix has no words for.
    func session(_ event: SessionEvent, _ line: Line) -> [String]? {
        // Without one it would be taken for this machine.
        guard line["client"] != nil else { return nil }
        let client = Self.client(line["client"])
        let verb = line["verb"] ?? "CONNECT"
        switch event {
        case .turnedAway: return [refusal(client, verb, line)]
        case .turnedAwayAgain, .authenticated: return nil
        case .loginRefused, .loginUnknown, .loginThrottled:
            let user = line["user"].map { ", sasl_username=\(Self.tame($0))" } ?? ""
            let method = line["mechanism"] ?? "PLAIN"
            return ["warning: \(client): SASL \(method) authentication failed: authentication failure\(user)"]
        case .connected: return ["connect from \(client)"]
        case .handshakeFailed: return ["SSL_accept error from \(client): \(line["reason"] ?? "-1")"]
        case .timedOut: return ["timeout after \(verb) from \(client)"]
        case .lost: return ["lost connection after \(verb) from \(client)"]
        case .disconnected: return ["disconnect from \(client)"]
        }
    }

    private func refusal(_ client: String, _ verb: String, _ line: Line) -> String {
        let reply = line["reply"] ?? ""
        // Ours always have an enhanced status; a plugin's may have none.
        var words = reply.utf8.split(separator: UInt8(ascii: " "), maxSplits: 2).map { String(Substring($0)) }
        if words.count > 1, !Self.isStatus(words[1]) {
            words = [words[0], Self.status(reply, "bounced"), words[1...].joined(separator: " ")]
        }
        let text = words.count > 2 ? words[2] : ""
        if Self.manyErrors.contains(text) { return "too many errors after \(verb) from \(client)" }
        if Self.pipelining.contains(text) { return "improper command pipelining after \(verb) from \(client): " }
        if Self.foreign.contains(text) { return "warning: non-SMTP command from \(client): \(verb)" }
        let (from, to) = (line["from"].map(Self.tame), line["to"].map(Self.tame))
        let subject =
            switch verb {
            case "MAIL": "<\(from ?? "")>: "
            case "RCPT": "<\(to ?? "")>: "
            case "CONNECT": "<\(client)>: Client host rejected: "
            case "DATA", "BDAT", "END-OF-MESSAGE": "<\(verb)>: "
            default: ""
            }
        let owner = words.count > 2 && Self.isOwnership(text) ? line["user"].map { " \(Self.tame($0))" } ?? "" : ""
        let sender = from.map { " from=<\($0)>" } ?? ""
        let recipient = to.map { " to=<\($0)>" } ?? ""
        let helo = line["helo"].map { " helo=<\(Self.tame($0))>" } ?? ""
        return "NOQUEUE: reject: \(verb) from \(client): \(words.prefix(2).joined(separator: " ")) "
            + "\(subject)\(Self.words[text] ?? text)\(owner);\(sender)\(recipient) "
            + "proto=\(helo.isEmpty ? "SMTP" : "ESMTP")\(helo)"
    }

    private static func isOwnership(_ text: String) -> Bool { words[text]?.utf8.elementsEqual(owned.utf8) ?? false }
    private static let owned = "Sender address rejected: not owned by user"

    /// A value of the client's without what ends one in Postfix's lines.
    private static func tame(_ value: String) -> String {
        String(
            decoding: value.utf8.map { octet in
                switch octet {
                case UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "["), UInt8(ascii: "]"), 0x20,
                    UInt8(ascii: ";"):
                    UInt8(ascii: "?")
                default: octet
                }
            },
            as: UTF8.self
        )
    }
}
