// TryCommands.swift — `martlet explain` and `martlet send-test`: what would happen, and what does.

package import ArgumentParser
import Glibc
import HTTPClient
import JSON
import Mail

/// The decisions about one message, without sending it.
package struct ExplainCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Say where a mail would go and why; sends nothing."
    )

    @Argument(help: "The recipient.")
    var recipient: String
    @Option(help: "The envelope sender; <> for a report.")
    var from: String?
    @Option(help: "Who logged in to hand the mail in.")
    var user: String?
    @Option(help: "The address that it was handed in from.")
    var client: String?
    @Flag(help: "The note force_tls is on the mail: encrypted or not at all.")
    var forceTLS = false
    @Flag(name: .customLong("require-tls"), help: "The mail came with REQUIRETLS.")
    var requireTLS = false
    @Flag(help: "Say what large providers ask of whoever sends much, and what of it is missing.")
    var bulk = false
    @OptionGroup package var options: RelayOptions

    package init() {}

    package func run(_ relay: Relay) throws {
        var query = [("recipient", recipient)]
        if let from { query.append(("sender", from)) }
        if let user { query.append(("user", user)) }
        if let client { query.append(("client", client)) }
        if forceTLS { query.append(("force_tls", "true")) }
        if requireTLS { query.append(("require_tls", "true")) }
        if bulk { query.append(("bulk", "true")) }
        try show(try relay.ask("GET", "/v1/explain", query: query)) {
            Printout.object(Self.flat($0), width: Terminal.ofThisProcess().width)
        }
    }

    /// The sessions of all hosts as a table of their own, beside that of the hosts.
    static func flat(_ way: JSON) -> JSON {
        var (hosts, sessions): ([JSON], [JSON]) = ([], [])
        for host in way["mx"]?.elements ?? [] {
            hosts.append(.object(host.members.filter { $0.name != "sessions" }))
            let place = host.members.filter { $0.name == "exchange" || $0.name == "port" }
            sessions += (host["sessions"]?.elements ?? []).map { .object(place + $0.members) }
        }
        return .object(
            way.members.filter { $0.name != "mx" } + [
                JSON.Member("mx", .array(hosts)), JSON.Member("sessions", .array(sessions)),
            ]
        )
    }
}

/// A first mail.
package struct SendTestCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "send-test",
        abstract: "Send a test mail; with --wait, follow it until it has left or failed.",
        discussion: """
            With --wait the exit status says what became of it: 0 it was delivered, 69 it failed and the reply is shown, 75 \
            it still waits, and the reason is shown.
            """
    )

    @Argument(help: "The recipient.")
    var recipient: String
    @Option(help: "The sender; without it the recipient.")
    var from: String?
    @Flag(help: "Wait until it has left the queue; the reason when it does not.")
    var wait = false
    @Option(name: .customLong("timeout"), help: "How long --wait waits: 60, 5m.")
    var timeout = Span(seconds: 60)
    @OptionGroup package var options: RelayOptions

    package init() {}

    package func run(_ relay: Relay) throws {
        let body: JSON = [
            "from": .string(from ?? recipient), "to": .array([.string(recipient)]), "subject": "Test from Martlet",
            "text": "This mail was sent by `martlet send-test`. It arrived, so delivery works.\n",
        ]
        let answer = try relay.ask("POST", "/v1/messages", body: body)
        guard wait else { return try show(answer) { Printout.object($0) } }
        guard let id = JSON(answer.body)?["id"]?.string else {
            throw OperatorError("the answer names no message: see that --url names the relay's API")
        }
        try follow(id, relay)
    }

    /// Asks every quarter of a second; says each new reason once.
    private func follow(_ id: String, _ relay: Relay) throws {
        let begin = ContinuousClock.now
        var said = ""
        if !options.json { print("accepted as \(id)") }
        while true {
            let seconds = (ContinuousClock.now - begin) / .seconds(1)
            let answer = try relay.send("GET", "/v1/queue/\(PercentEncoding.encoded(id))")
            if answer.status == 404 { return try tellEnd(of: id, after: seconds, JSON(answer.body)) }
            let message = JSON(answer.body)
            let reason = message.flatMap(Self.reason) ?? ""
            if !reason.isEmpty, reason != said, !options.json { print(Printout.clean(reason)) }
            said = reason
            guard seconds < Double(timeout.seconds) else {
                let last = said.isEmpty ? "" : ": \(said)"
                throw OperatorError("\(id) still waits after \(Int(seconds)) s\(last)", status: EX_TEMPFAIL)
            }
            ClockTime.pause(milliseconds: 250)
        }
    }

    /// It has left the queue: delivered, or failed for somebody.
    private func tellEnd(of id: String, after seconds: Double, _ answer: JSON?) throws {
        let failures = answer?["failures"]?.elements ?? []
        let state: JSON = [
            "id": .string(id), "state": failures.isEmpty ? "gone" : "failed", "failures": .array(failures),
        ]
        if options.json { print(state.text) }
        let span = "after \((seconds * 10).rounded() / 10) s"
        guard failures.isEmpty else {
            let words = failures.map {
                "\(Printout.word($0["recipient"] ?? .null)): \(Printout.word($0["reply"] ?? .null))"
            }
            throw OperatorError("\(id) failed \(span): \(words.joined(separator: "; "))", status: EX_UNAVAILABLE)
        }
        if !options.json { print("left the queue \(span); the log says where to: grep \(id)") }
    }

    private static func reason(_ message: JSON) -> String? {
        if let text = message["last_reply"]?["text"]?.string { return text }
        for recipient in message["recipients"]?.elements ?? [] {
            if let text = recipient["last_reply"]?["text"]?.string { return text }
        }
        return nil
    }
}
