// NodeCommands.swift — `martlet nodes`: the relays that share one queue.

package import ArgumentParser
import JSON
import Mail

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
        try show(try relay.ask("GET", nodes)) { answer in
            let items = answer["items"]?.elements ?? []
            guard !items.isEmpty else { return "The queue is this relay's alone." }
            let rows = items.map { node -> JSON in
                [
                    "name": node["name"] ?? nil, "state": node["state"] ?? nil, "messages": node["messages"] ?? nil,
                    "seen": node["seen_at"] ?? nil, "version": node["version"] ?? nil,
                ]
            }
            return Printout.table(rows, width: Terminal.ofThisProcess().width)
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

    func run(_ relay: Relay) throws {
        let path = "\(nodes)/\(PercentEncoding.encoded(name))/drain"
        try show(try relay.ask("POST", path)) { Printout.object($0) }
    }
}

struct ResumeNode: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Let a node that was drained take part again."
    )

    @Argument(help: "The node's name.")
    var name: String
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        let path = "\(nodes)/\(PercentEncoding.encoded(name))/resume"
        try show(try relay.ask("POST", path)) { Printout.object($0) }
    }
}
