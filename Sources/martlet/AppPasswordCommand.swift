// AppPasswordCommand.swift — `martlet passwd app add|list|remove`: passwords for single programs of a user; a running relay notices.

import ArgumentParser
import Config
import Mail

/// The sub-commands about app passwords; they need no running relay.
struct AppPasswordCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "app",
        abstract: "Make, list and remove passwords for single programs of a user.",
        subcommands: [AddAppPassword.self, ListAppPasswords.self, RemoveAppPassword.self]
    )
}

/// Prints the password alone on standard output; only its hash is kept.
struct AddAppPassword: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add",
        abstract: "Make an app password and print it; it is shown this once."
    )

    @Argument(help: "The user, for example relay@example.org.")
    var user: String
    @Argument(help: "A name for it: letters, digits, dots, hyphens, underscores.")
    var name: String
    @Option(
        help: "What it may use as sender: addresses and domains, separated by commas; what the user may when left out."
    )
    var senders: String?
    @Option(help: "Networks it may be used from, separated by commas; all when left out.")
    var networks: String?
    @Option(help: "When it ends: 30d, 12h, or a time such as 2027-01-31T00:00:00Z; never when left out.")
    var expires: String?
    @OptionGroup var place: ConfigOption

    func run() throws {
        let now = Timestamp.now()
        let wish: AppPasswordWish
        do throws(AppPasswordWish.Fault) {
            wish = try AppPasswordWish(
                name,
                of: user,
                senders: senders.map(AppPassword.words) ?? [],
                networks: networks.map(AppPassword.words) ?? [],
                expires: try LifeTime.end(expires, at: now),
                at: now
            )
        } catch {
            throw ValidationError("\(about(error)) \(error.reason).")
        }
        guard let made = AppPassword.make() else {
            throw CommandFailure("the system gave no random octets, so no password was made; try again")
        }
        try AppPasswordFile.edit(place, "add app password", user) { (document) throws(ConfigError) in
            try AppPassword.add(wish, hash: made.hash, to: &document)
        }
        print(made.secret)
    }

    /// What a complaint is about, as it was typed.
    private func about(_ fault: AppPasswordWish.Fault) -> String {
        func word(_ list: String?, _ place: Int) -> String { list.map { AppPassword.words($0)[place] } ?? "" }
        return switch fault {
        case .name: "The name \(name)"
        case .user: "The user \(user)"
        case .sender(let place): "--senders: \(word(senders, place))"
        case .network(let place): "--networks: \(word(networks, place))"
        case .end: "--expires"
        }
    }
}

/// One line for each app password.
struct ListAppPasswords: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List app passwords; nobody can list the passwords themselves. Last use: martlet credentials show."
    )

    @Argument(help: "Of this user alone.")
    var user: String?
    @OptionGroup var place: ConfigOption

    func run() throws {
        let now = Timestamp.now()
        let all = try AppPasswordFile.open(place).current.auth.apps.values.flatMap(\.self)
        for app in all.sorted(by: { ($0.user, $0.name) < ($1.user, $1.name) })
        where user.map({ app.user.isSame(octets: $0) }) ?? true {
            let isOver = app.expires.map { $0 <= now } ?? false
            let words = [
                app.user, app.name, isOver ? "expired" : "valid", app.senders?.joined(separator: ",") ?? "any sender",
                app.networks.isEmpty ? "anywhere" : app.networks.map { "\($0)" }.joined(separator: ","),
                app.expires?.rfc3339 ?? "never expires",
            ]
            print(words.joined(separator: "\t"))
        }
    }
}

/// Whoever has it is not let in any more.
struct RemoveAppPassword: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "remove", abstract: "Take an app password away.")

    @Argument(help: "The user.")
    var user: String
    @Argument(help: "Its name.")
    var name: String
    @OptionGroup var place: ConfigOption

    func run() throws {
        try AppPasswordFile.edit(place, "remove app password", user) { (document) throws(ConfigError) in
            guard AppPassword.remove(name, of: user, from: &document) else {
                throw ConfigError(
                    file: AuthSettings.file,
                    reason:
                        "there is no app password \(name) of \(user); martlet passwd app list shows those that there are"
                )
            }
        }
        print("removed \(name)")
    }
}

/// How long something lives, as it is written.
private enum LifeTime {
    /// - Throws: when it is none.
    static func end(_ text: String?, at now: Timestamp) throws(AppPasswordWish.Fault) -> Timestamp? {
        guard let text else { return nil }
        if let time = Timestamp(rfc3339: text) { return time }
        let units: [Unicode.Scalar: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let last = text.utf8.last, let unit = units[Unicode.Scalar(last)],
            let count = Int64(Substring(text.utf8.dropLast())), (1...1_000_000).contains(count)
        else { throw .end }
        return now.adding(milliseconds: count * unit * 1000)
    }
}

/// `auth_flat_file.ini` for the commands.
private enum AppPasswordFile {
    static func open(_ place: ConfigOption) throws -> SettingsStore {
        let (environment, problems) = Environment.ofThisProcess()
        do throws(ConfigErrors) {
            if let problems { throw problems }
            return try ProcessSettings.read(place.directory(environment), environment, allowsBroken: true)
        } catch {
            throw CommandFailure(error.description)
        }
    }

    static func edit(
        _ place: ConfigOption,
        _ operation: String,
        _ user: String,
        _ change: (inout INIDocument) throws(ConfigError) -> Void
    ) throws {
        let store = try open(place)
        do throws(EditFailure<ConfigError>) {
            try store.edit(.passwords, operation: operation, key: user, change)
        } catch {
            throw CommandFailure(error.description)
        }
    }
}
