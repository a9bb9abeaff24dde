// ReactionCommands.swift — `martlet reactions`: what reactions hold down, and letting it go.

package import ArgumentParser

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

    func run(_ relay: Relay) throws { try list(relay, place, or: "Nothing is held down.") }
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
        try letGo(relay, place, scope.joined(separator: " ")) { "\($0) goes as before." }
    }
}
