// OutboundCommands.swift — `martlet outbound …`: the settings of delivery, and its switch.

package import ArgumentParser
import JSON
import Mail

/// `outbound.ini` of a running relay.
package struct OutboundCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "outbound",
        abstract: "Show and change how mail leaves; kept in outbound.ini.",
        subcommands: [ShowOutbound.self, SetOutbound.self, DisableOutbound.self, EnableOutbound.self]
    )

    package init() {}
}

/// Every key.
struct ShowOutbound: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show every key of outbound.ini.")

    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws { try show(try relay.ask("GET", "/v1/outbound")) { Printout.object($0) } }
}

/// Some keys.
struct SetOutbound: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Change keys of outbound.ini; takes effect at once.",
        usage: "martlet outbound set concurrency_max=200 max_temp_failures=10"
    )

    @Argument(help: "key=value; key=null goes back to the default.")
    var changes: [KeyValue]
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        let body = JSON.object(of: changes.map { ($0.name, JSON(word: $0.value)) })
        try show(try relay.ask("PATCH", "/v1/outbound", body: body)) { Printout.object($0) }
    }
}

/// Mail is taken and waits.
struct DisableOutbound: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable",
        abstract: "Stop delivering; mail is still taken and waits. Survives a restart."
    )

    @Option(help: "Why, for the log and for those who ask.")
    var reason: String?
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        var body: JSON = ["disabled": true]
        if let reason { body["disabled_reason"] = .string(reason) }
        let answer = try relay.ask("PATCH", "/v1/outbound", body: body)
        try show(answer) { _ in "Delivery is disabled: mail is taken and waits." }
    }
}

/// Go on.
struct EnableOutbound: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "enable", abstract: "Deliver again.")

    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        try show(try relay.ask("PATCH", "/v1/outbound", body: ["disabled": false])) { _ in "Delivering." }
    }
}

/// `name=value` on a command line.
struct KeyValue: ExpressibleByArgument {
    let name: String
    let value: String

    init?(argument: String) {
        guard let equals = argument.firstIndex(ofOctet: "="), equals > argument.startIndex else { return nil }
        name = String(argument[..<equals])
        value = String(argument[argument.utf8.index(after: equals)...])
    }
}
