// NodeCommands.swift — `martlet nodes`: the relays that share one queue.

package import ArgumentParser
import JSON

/// The nodes of the queue, and emptying one of them.
package struct NodesCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "nodes",
        abstract: "Show the relays that share the queue; empty one, or let it take part again.",
        subcommands: [ListNodes.self, DrainNode.self, ResumeNode.self],
        defaultSubcommand: ListNodes.self
    )

    package init() {}
}

private let nodes = "/v1/nodes"

struct ListNodes: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List every node.")

    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        try list(relay, nodes, or: "The queue is this relay's alone.") { node in
            [
                "name": node["name"] ?? nil, "state": node["state"] ?? nil, "messages": node["messages"] ?? nil,
                "seen": node["seen_at"] ?? nil, "version": node["version"] ?? nil, "config": node["config_hash"] ?? nil,
                "differs": .string(
                    (node["config_differs"]?.elements ?? []).compactMap(\.string).joined(separator: " ")
                ),
            ]
        }
    }
}

struct DrainNode: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain",
        abstract: "Have a node take no mail and give what waits to the others."
    )

    @Argument(help: "The node's name.")
    var name: String
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws { try row(relay, "POST", nodes, name, "drain") }
}

struct ResumeNode: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Let a node that was drained take part again."
    )

    @Argument(help: "The node's name.")
    var name: String
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws { try row(relay, "POST", nodes, name, "resume") }
}
