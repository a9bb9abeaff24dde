// CredentialCommands.swift — `martlet credentials …`: who hands mail in and how much; park and release.

package import ArgumentParser
import JSON
import Mail

private let place = "/v1/credentials"

/// Credentials of a running relay.
package struct CredentialsCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "credentials",
        abstract: "Show who hands mail in and how much; park a login, and let it go on.",
        subcommands: [
            ListCredentials.self, ShowCredential.self, ParkCredential.self, ReleaseCredential.self,
        ],
        defaultSubcommand: ListCredentials.self
    )

    package init() {}
}

struct ListCredentials: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List logins and what they have used."
    )

    @Option(help: "login, network, sender_domain or listener.")
    var kind = "login"
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        try list(relay, place, query: [("kind", kind)], or: "Nobody has been here.", Self.line)
    }

    /// A line: limits as words, parked or not.
    private static func line(_ item: JSON) -> JSON {
        let limits = (item["limits"]?.elements ?? []).map { limit in
            "\(limit["measure"]?.string ?? "") \(limit["used"].map(\.text) ?? "0") of \(limit["limit"]?.string ?? "")"
        }
        return [
            "name": item["name"] ?? .null,
            "parked": item["parked"]?["since"] ?? .null,
            "last_seen": item["last_seen"] ?? .null,
            "last_address": item["last_address"] ?? .null,
            "surplus": item["surplus"] ?? .null,
            "waiting": item["waiting"]?["messages"] ?? .null,
            "used": .string(limits.joined(separator: ", ")),
        ]
    }
}

struct ShowCredential: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one login.")

    @Argument(help: "The login; a token of the API is token:NAME.")
    var name: String
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws { try row(relay, "GET", place, name) }
}

struct ParkCredential: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "park", abstract: "Take nothing of a login any more.")

    @Argument(help: "The login; a token of the API is token:NAME.")
    var name: String
    @Option(help: "Why; it is shown to whoever asks the relay, and not to the client.")
    var reason: String?
    @Option(help: "When it goes on by itself, such as 2030-01-01T08:00:00Z.")
    var until: String?
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        try row(relay, "POST", place, name, "park", body: ["reason": .optional(reason), "until": .optional(until)])
    }
}

struct ReleaseCredential: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "release",
        abstract: "Let a login that was parked go on; what it had used is forgotten."
    )

    @Argument(help: "The login.")
    var name: String
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws { try row(relay, "POST", place, name, "release") }
}
