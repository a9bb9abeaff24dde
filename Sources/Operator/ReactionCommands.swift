// ReactionCommands.swift — `martlet reactions`: what reactions hold down, and letting it go.

package import ArgumentParser
import JSON
import Mail

private let place = "/v1/reactions"

/// What reactions hold down.
package struct ReactionsCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "reactions",
        abstract: "List what reactions of limits.ini hold down; let it go as fast as before.",
        subcommands: [ListReactions.self, ResetReaction.self],
        defaultSubcommand: ListReactions.self
    )

    package init() {}
}

struct ListReactions: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List what is held down.")

    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        try show(try relay.ask("GET", place)) { answer in
            let items = answer["items"]?.elements ?? []
            return items.isEmpty
                ? "Nothing is held down." : Printout.table(items, width: Terminal.ofThisProcess().width)
        }
    }
}

struct ResetReaction: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "reset",
        abstract: "Let a scope go as fast as before its reaction.",
        usage: "martlet reactions reset lane example.org"
    )

    @Argument(help: "What is held down, as it is listed.")
    var scope: [String]
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        let scope = scope.joined(separator: " ")
        try show(try relay.ask("DELETE", "\(place)/\(PercentEncoding.encoded(scope))")) { Printout.object($0) }
        if !options.json { print("\(scope) goes as before.") }
    }
}
