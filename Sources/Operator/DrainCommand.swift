// DrainCommand.swift — `martlet drain --to`: what waits at one relay goes to another one, each with the whole state of it.
//
// The order of steps is what makes it safe: the message is marked here and held, so that nobody delivers it; the other relay makes
// it durable; only then it ends here. Each step can be done again, and whoever was killed goes on where it was by being run again.

package import ArgumentParser
import Config
import Glibc
import HTTPClient
import JSON
import Mail

/// Empties a relay into another one.
package struct DrainCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "drain",
        abstract:
            "Send what waits here to another relay, each message with all that became of it; run again, it goes on.",
        discussion: """
            The relay takes no mail from then on (452, /readyz 503), and goes on delivering. A message that a session has goes \
            last. Where several relays share a queue, martlet nodes drain does this.
            """
    )

    @OptionGroup package var options: RelayOptions

    @Option(help: "The API of the relay that gets the mail, such as https://relay-2.example.net:8025.")
    var to: String?

    @Option(
        name: .customLong("to-token-file"),
        help:
            "A file that holds a token of that relay with the scope queue:write; MARTLET_TO_TOKEN_FILE or MARTLET_TO_TOKEN."
    )
    var toTokenFile: String?

    @Option(
        name: .customLong("to-ca"),
        help: "Certificates, PEM, that the other relay's is trusted by; else the system's."
    )
    var toCA: String?

    @Option(help: "Seconds to wait for sessions that have messages, and for the other relay.")
    var wait: Int = 60

    @Flag(
        name: .customLong("dry-run"),
        help: "Ask the other relay whether it would take mail, and say how much there is."
    )
    var dryRun = false

    @Flag(help: "Take mail here again; what was sent stays where it is.")
    var stop = false

    package init() {}

    /// Says where to, or that it is over.
    package func validate() throws {
        guard (to == nil) == stop else { throw ValidationError("say where with --to, or --stop") }
        guard wait >= 0 else { throw ValidationError("--wait is a number of seconds") }
    }

    package func run(_ relay: Relay) throws {
        guard let to else {
            return try show(try relay.ask("DELETE", "/v1/drain")) { _ in "The relay takes mail again." }
        }
        let place = try PeerPlace(to)
        let token = try options.token(file: toTokenFile, named: "TO_TOKEN")
        let peer = Relay(base: place.base, socket: nil, token: token, caFile: toCA)
        let move = Removal(from: relay, to: peer, called: place.name, me: options.relayName, patience: wait)
        try move.look()
        if dryRun { return try report(move, count: try move.waiting()) }
        try move.run()
        try report(move, count: nil)
    }

    /// - Parameter count: what would be sent; nil: it was.
    private func report(_ move: Removal, count: Int?) throws {
        let tally = move.tally
        if options.json {
            let value: JSON =
                count.map { ["waiting": .count($0), "to": .string(move.name)] } ?? [
                    "sent": .count(tally.sent), "known": .count(tally.known), "refused": .count(tally.refused.count),
                    "left": .count(tally.left), "to": .string(move.name),
                ]
            print(value.text)
        } else if let count {
            print("\(count) messages would go to \(move.name), which takes them (\(move.words)); nothing was changed")
        } else {
            print(
                "\(tally.sent) messages went to \(move.name), \(tally.known) were there already, \(tally.left) are left here"
            )
        }
        for line in tally.refused.prefix(20) { Output.complain(line) }
        if tally.left > 0, count == nil { throw ExitCode(EX_TEMPFAIL) }
    }
}

/// Where another relay is.
struct PeerPlace {
    let base: String
    /// Without the scheme, as people and marks name it.
    let name: String

    /// - Throws: what is no URL, or would send mail and a token in the clear.
    init(_ text: String) throws {
        base = String(text.rest(before: "/") ?? text[...])
        let secure = base.rest(behind: "https://")
        guard let rest = secure ?? base.rest(behind: "http://"), !rest.isEmpty, rest.utf8.count <= 120,
            rest.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !"/,@?#".utf8.contains($0) })
        else { throw OperatorError("--to is a URL such as https://relay.example.net:8025", status: EX_USAGE) }
        let isHere = ["127.", "localhost", "[::1]"].contains { rest.rest(behind: $0) != nil }
        guard secure != nil || isHere else {
            throw OperatorError("mail and a token do not go in the clear: give --to an https:// URL", status: EX_USAGE)
        }
        name = String(rest)
    }
}

extension RelayOptions {
    /// What to call the relay that is emptied.
    fileprivate var relayName: String {
        url.flatMap { try? PeerPlace($0).name } ?? (try? LocalRelay(data: data))?.relay.name.name ?? "another relay"
    }
}
