// PauseCommands.swift — `martlet pause`, `martlet resume`: stop the mail of a scope, and let it go on.

package import ArgumentParser
import JSON

private let pauses = "/v1/pauses"

/// Stops a scope, or says what is stopped.
package struct PauseCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "pause",
        abstract: "Stop the mail of a scope; without one, list what is paused.",
        usage: """
            martlet pause
            martlet pause all --reason 'certificate expired'
            martlet pause domain example.org --until 2030-01-01T08:00:00Z
            """
    )

    @Argument(help: "all, provider, lane, route, source, domain, sender or user.")
    var kind: String?
    @Argument(help: "Which one.")
    var name: String?
    @Option(help: "Why; it is shown wherever mail waits for it.")
    var reason: String?
    @Option(help: "When it goes on by itself, such as 2030-01-01T08:00:00Z.")
    var until: String?
    @OptionGroup package var options: RelayOptions

    package init() {}

    package func run(_ relay: Relay) throws {
        guard let kind else {
            return try list(relay, pauses, or: "Nothing is paused.")
        }
        let scope = name.map { "\(kind) \($0)" } ?? kind
        let body: JSON = ["scope": .string(scope), "reason": .optional(reason), "until": .optional(until)]
        try show(try relay.ask("POST", pauses, body: body)) { Printout.object($0) }
    }
}

/// Lets a scope go on.
package struct ResumeCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Let the mail of a paused scope go on.",
        usage: "martlet resume domain example.org"
    )

    @Argument(help: "all, provider, lane, route, source, domain, sender or user.")
    var kind: String
    @Argument(help: "Which one.")
    var name: String?
    @OptionGroup package var options: RelayOptions

    package init() {}

    package func run(_ relay: Relay) throws {
        try letGo(relay, pauses, name.map { "\(kind) \($0)" } ?? kind) { "\($0) goes on." }
    }
}
