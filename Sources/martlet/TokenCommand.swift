// TokenCommand.swift — `martlet token create|list|revoke`: who may use the API, in `admin.ini`; a running relay notices.

import ArgumentParser
import Config
import Files
import Mail
import OpenSSL
import Operator

/// The sub-commands about tokens; they need no running relay.
struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Make, list and revoke tokens of the admin API.",
        subcommands: [CreateToken.self, ListTokens.self, RevokeToken.self]
    )
}

/// Prints the token alone on standard output; only its hash is kept.
struct CreateToken: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a token and print it; it is shown this once."
    )

    @Argument(help: "A name for it: letters, digits, dots, hyphens, underscores.")
    var name: String

    @Option(help: "What it may do: all, or a list such as queue:read,queue:write.")
    var scope: String

    @Option(help: "Networks it may be used from, separated by commas; all when left out.")
    var cidr: String?

    @Option(help: "When it ends: 30d, 12h, or a time such as 2027-01-31T00:00:00Z; never when left out.")
    var expires: String?

    @Option(help: "The configuration directory.")
    var config: String

    func validate() throws {
        guard AdminSettings.isTokenName(name) else {
            throw ValidationError("A name has 1 to 64 letters, digits, dots, hyphens or underscores.")
        }
        guard AdminSettings.scopes(scope) != nil else {
            let known = AdminSettings.Scope.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--scope is all, or some of \(known).")
        }
        if let cidr, cidr.split(octet: ",").contains(where: { IPNetwork($0) == nil }) {
            throw ValidationError("--cidr is a list of networks such as 192.0.2.0/24.")
        }
        _ = try end(at: .now())
    }

    func run() throws {
        // 256 bits: nobody guesses it, so a plain hash of it is as good as a slow one.
        let secret = "mt_" + (try Secrets.random(32)).hexadecimal
        let digest = Digest.sha256(Array(secret.utf8)).hexadecimal
        let now = Timestamp.now()
        let end = try end(at: now)
        let section = "token \(name)"
        let isFirst = try !AdminFile.open(config).current.admin.hasTokens
        try AdminFile.edit(config, "create token", name) { (document) throws(ConfigError) in
            let isThere = document.sections.contains(section)
            guard !isThere || document.value("revoked", in: section) != nil else {
                throw ConfigError(file: AdminSettings.file, reason: "there is a token \(name); revoke it first")
            }
            document.removeSection(section)
            try document.set("hash", to: "sha256:\(digest)", in: section)
            try document.set("scopes", to: scope, in: section)
            if let cidr { try document.set("cidr", to: cidr, in: section) }
            if let end { try document.set("expires", to: end.rfc3339, in: section) }
            try document.set("created", to: now.rfc3339, in: section)
        }
        print(secret)
        if isFirst, let remark = try AdminFile.open(config).current.admin.meaningOfTokens {
            Output.complain("note: this is the first token. \(remark)")
        }
    }

    /// - Throws: when it is no time.
    private func end(at now: Timestamp) throws -> Timestamp? {
        guard let expires else { return nil }
        if let time = Timestamp(rfc3339: expires) { return time }
        let units: [Unicode.Scalar: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let last = expires.utf8.last, let unit = units[Unicode.Scalar(last)],
            let count = Int64(Substring(expires.utf8.dropLast())),
            (1...1_000_000).contains(count)
        else { throw ValidationError("--expires is 30d, 12h, or a time such as 2027-01-31T00:00:00Z.") }
        return now.adding(milliseconds: count * unit * 1000)
    }
}

/// One line for each token.
struct ListTokens: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the tokens with their scopes; nobody can list the tokens themselves."
    )

    @Option(help: "The configuration directory.")
    var config: String

    func run() throws {
        let now = Timestamp.now()
        for token in try AdminFile.open(config).current.admin.tokens {
            let all = token.scopes.count == AdminSettings.Scope.allCases.count
            let scopes = all ? "all" : token.scopes.map(\.rawValue).sorted().joined(separator: ",")
            let networks = token.networks.isEmpty ? "anywhere" : token.networks.map { "\($0)" }.joined(separator: ",")
            let isOver = token.expires.map { $0 <= now } ?? false
            let state = token.digest == nil ? "revoked" : isOver ? "expired" : "valid"
            print("\(token.name)\t\(state)\t\(scopes)\t\(networks)\t\(token.expires?.rfc3339 ?? "never expires")")
        }
    }
}

/// The name stays, so that the log can be understood later and the last token's end does not open the API.
struct RevokeToken: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "revoke", abstract: "Take a token's rights away.")

    @Argument(help: "Its name.")
    var name: String

    @Option(help: "The configuration directory.")
    var config: String

    func run() throws {
        let section = "token \(name)"
        try AdminFile.edit(config, "revoke token", name) { (document) throws(ConfigError) in
            guard document.sections.contains(section) else {
                throw ConfigError(
                    file: AdminSettings.file,
                    reason: "there is no token \(name); martlet token list shows those that there are"
                )
            }
            document.remove("hash", in: section)
            try document.set("revoked", to: Timestamp.now().rfc3339, in: section)
        }
    }
}

/// `admin.ini` for the commands.
private enum AdminFile {
    static func open(_ config: String) throws -> SettingsStore {
        do throws(ConfigErrors) {
            return try SettingsStore(
                ConfigDirectory(config, disk: LinuxDisk()),
                hostName: HostName.ofMachine(),
                allowsBroken: true,
                now: .now()
            )
        } catch {
            throw ValidationError("\(error)")
        }
    }

    static func edit(
        _ config: String,
        _ operation: String,
        _ name: String,
        _ change: (inout INIDocument) throws(ConfigError) -> Void
    ) throws {
        let store = try open(config)
        do throws(EditFailure<ConfigError>) {
            try store.edit(.admin, operation: operation, key: name, change)
        } catch {
            throw ValidationError("\(error)")
        }
    }
}
