// TableCommands.swift — `martlet route …` and `martlet ip …`: the two tables that say where mail goes and from where.

package import ArgumentParser
import Config
import Files
import JSON
import Mail

/// `routes.ini` of a running relay.
package struct RouteCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "route",
        abstract: "Show and change the table of next hops; kept in routes.ini.",
        subcommands: [ListRoutes.self, ShowRoute.self, SetRoute.self, RemoveRoute.self]
    )

    package init() {}
}

/// `outbound_ip.ini` of a running relay.
package struct IPCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "ip",
        abstract: "Show and change which address mail leaves from; kept in outbound_ip.ini.",
        subcommands: [ListIPs.self, ShowIP.self, SetIP.self, RemoveIP.self, ShowSourceHealth.self]
    )

    package init() {}
}

private let routes = "/v1/routes"
private let table = "/v1/outbound-ips"
private let empty = "The table is empty."

struct ListRoutes: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List every route.")

    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws { try list(relay, routes, or: empty, Self.short) }

    /// What a route does in a few words: everything is in `route show`.
    static func short(_ route: JSON) -> JSON {
        ["match": route["match"] ?? nil, "to": .string(way(route)), "origin": route["origin"] ?? nil]
    }

    private static func way(_ route: JSON) -> String {
        if let reply = route["reject"]?.string { return "rejected: \(reply)" }
        if let reason = route["discard"]?.string { return "discarded: \(reason)" }
        if route["direct"]?.bool == true { return "the MX of the domain" }
        return (route["mx"]?.elements ?? []).map(host).joined(separator: ", ")
    }

    private static func host(_ mx: JSON) -> String {
        let exchange = mx["exchange"]?.string ?? ""
        let port = mx["port"].map { Printout.word($0) } ?? ""
        let isBare = exchange.starts(withOctets: "/")
        var text = isBare ? exchange : "\(exchange.contains(octet: ":") ? "[\(exchange)]" : exchange):\(port)"
        if let user = mx["auth_user"]?.string { text += " as \(user)" }
        if let tls = mx["tls"]?.string { text += " tls=\(tls)" }
        if mx["implicit_tls"]?.bool == true { text += " implicit_tls" }
        if mx["using_lmtp"]?.bool == true { text += " lmtp" }
        return text
    }
}

struct ShowRoute: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one route.")

    @Argument(help: "A domain, *.suffix, user@domain, \"sender X\", \"sender X to Y\" or *.")
    var match: String
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws { try row(relay, "GET", routes, match) }
}

struct SetRoute: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Add or replace a route; waiting mail follows it.",
        usage: "martlet route set '*' smtp.provider.example:587 --with auth_user=apikey --password-file KEY"
    )

    @Argument(help: "A domain, *.suffix, user@domain, \"sender X\", \"sender X to Y\" or *.")
    var match: String
    @Argument(help: "Hosts in the order to try them: host, host:port, ip, ip:port or [v6]:port.")
    var hosts: [String] = []
    @Option(help: "Mail is not taken: the reply, such as '550 5.1.1 gone'; true for words of the relay's own.")
    var reject: String?
    @Option(help: "Mail is taken and goes nowhere: why, for the log.")
    var discard: String?
    @Flag(help: "The DNS decides, whatever less specific routes say.")
    var direct = false
    @Option(name: .customLong("with"), help: "A property of the route, such as tls=verify or bind=192.0.2.1.")
    var properties: [KeyValue] = []
    @Option(name: .customLong("password-file"), help: "A file that holds auth_pass; - reads standard input.")
    var passwordFile: String?
    @OptionGroup var first: PlanOption
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        var shared = JSON.object(of: properties.map { ($0.name, JSON(word: $0.value)) })
        if let passwordFile { shared["auth_pass"] = .string(try password(passwordFile)) }
        if !hosts.isEmpty { shared["mx"] = .array(hosts.map { .string($0) }) }
        if let reject { shared["reject"] = .string(reject) }
        if let discard { shared["discard"] = .string(discard) }
        if direct { shared["direct"] = true }
        try row(relay, "PUT", routes, match, query: first.query, body: shared)
    }

    private func password(_ path: String) throws -> String {
        let bytes: [UInt8]
        if path == "-" {
            bytes = Output.readAll()
        } else {
            do throws(DiskError) {
                bytes = try LinuxDisk().contents(of: path, limit: 65_536)
            } catch {
                throw OperatorError("the password cannot be read: \(error)", status: 66)
            }
        }
        do throws(ValueError) {
            return try GivenText.value(bytes)
        } catch {
            throw OperatorError("the password \(error.reason)", status: 65)
        }
    }
}

struct RemoveRoute: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "remove", abstract: "Take a route away.")

    @Argument(help: "As the list shows it.")
    var match: String
    @OptionGroup var first: PlanOption
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws { try row(relay, "DELETE", routes, match, query: first.query) }
}

/// A change that is looked at, and then done as it was shown.
struct PlanOption: ParsableArguments {
    @Flag(name: .customLong("dry-run"), help: "Only say what would change, and what becomes of waiting mail.")
    var dryRun = false
    @Option(help: "Of a dry run: do exactly what it showed, or nothing.")
    var plan: String?

    var query: [(String, String)] {
        (dryRun ? [("dry_run", "true")] : []) + (plan.map { [("plan", $0)] } ?? [])
    }
}

struct ListIPs: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List every binding.")

    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws { try list(relay, table, or: empty) }
}

struct ShowIP: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one binding.")

    @Argument(help: "As the list shows it.")
    var match: String
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws { try row(relay, "GET", table, match) }
}

struct SetIP: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Add or replace a binding, or a pool of addresses.",
        usage: """
            martlet ip set example.com 192.0.2.10 --with helo=out1.example.net
            martlet ip set 'pool news' '192.0.2.10 weight 3' '192.0.2.11 helo out2.example.net'
            martlet ip set 'sender news.example.org' --pool news
            """
    )

    @Argument(help: "A domain, an address, \"sender …\", \"route …\", \"pool NAME\" or *.")
    var match: String
    @Argument(help: "The address of this machine to send from; of a pool each, with weight N and helo NAME behind it.")
    var addresses: [String] = []
    @Option(help: "The pool to send from, instead of an address.")
    var pool: String?
    @Option(name: .customLong("with"), help: "A property of the binding, such as helo=out1.example.net.")
    var properties: [KeyValue] = []
    @OptionGroup var options: RelayOptions

    func validate() throws {
        guard addresses.isEmpty != (pool == nil) else {
            throw ValidationError("say an address to send from, or --pool NAME")
        }
    }

    func run(_ relay: Relay) throws {
        var body = JSON.object(of: properties.map { ($0.name, JSON(word: $0.value)) })
        if let pool { body["pool"] = .string(pool) }
        if !addresses.isEmpty {
            body[match.starts(withOctets: "pool ") ? "address" : "ip"] = .strings(addresses)
        }
        try row(relay, "PUT", table, match, body: body)
    }
}

struct ShowSourceHealth: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "health",
        abstract: "What each provider answered of late to each address of ours, those that are blocked first."
    )

    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        try list(relay, "/v1/source-health", or: "Nothing went from an address of ours of late.")
    }
}

struct RemoveIP: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "remove", abstract: "Take a binding away.")

    @Argument(help: "As the list shows it.")
    var match: String
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws { try row(relay, "DELETE", table, match) }
}
