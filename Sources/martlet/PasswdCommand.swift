// PasswdCommand.swift — `martlet passwd`: gives a user of SMTP AUTH a password, or takes the user away.

import ArgumentParser
import Config
import Glibc
import Passwords

/// Passwords of users, and of their programs.
struct PasswdCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "passwd",
        abstract: "Set the password of a user who sends with SMTP AUTH, or passwords of its programs.",
        subcommands: [SetPasswordCommand.self, AppPasswordCommand.self],
        defaultSubcommand: SetPasswordCommand.self
    )
}

/// Reads a password, twice from a terminal or one line from a pipe, and writes its hash to `auth_flat_file.ini`.
///
/// A running relay takes it up within a second.
struct SetPasswordCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Set the password of a user; the word may be left out, but for a user named app.",
        discussion: "Reads the password from the terminal, or its first line from a pipe; nothing is ever shown."
    )

    @Argument(help: "The user, for example relay@example.org.")
    var name: String

    @OptionGroup var place: ConfigOption

    @Option(help: "yescrypt, sha512, bcrypt; or scram, which serves SCRAM-SHA-256 besides PLAIN and LOGIN.")
    var method = StoredPassword.Method.yescrypt

    @Flag(help: "Remove the user.")
    var remove = false

    func run() throws {
        let (environment, problems) = Environment.ofThisProcess()
        let store: SettingsStore
        do throws(ConfigErrors) {
            if let problems { throw problems }
            store = try ProcessSettings.read(place.directory(environment), environment, allowsBroken: true)
        } catch {
            throw CommandFailure(error.description)
        }
        try change(store)
    }

    private func change(_ store: SettingsStore) throws {
        let stored = remove ? nil : try hash(PasswordInput.read(for: name))
        do throws(EditFailure<ConfigError>) {
            try store.edit(.passwords, operation: remove ? "remove user" : "set password", key: name) {
                (document) throws(ConfigError) in
                guard let stored else {
                    guard document.value(name, in: "users") != nil else {
                        throw ConfigError(
                            file: AuthSettings.file,
                            reason: "there is no user \(name); [users] of the file has those that there are"
                        )
                    }
                    document.remove(name, in: "users")
                    return
                }
                try document.set(name, to: stored, in: "users")
            }
        } catch {
            throw CommandFailure(error.description)
        }
        print(remove ? "removed \(name)" : "password of \(name) set")
    }

    private func hash(_ password: [UInt8]) throws -> String {
        guard let text = StoredPassword.text(of: password, by: method) else {
            throw CommandFailure("libcrypt cannot hash this password by \(method.rawValue); choose another --method")
        }
        return text
    }
}

extension StoredPassword.Method: ExpressibleByArgument {}

/// Where a password comes from.
private enum PasswordInput {
    static func read(for name: String) throws -> [UInt8] {
        guard isatty(STDIN_FILENO) == 1 else { return try checked(line()) }
        let first = try checked(ask("Password of \(name): "))
        guard first == ask("Again: ") else { throw CommandFailure("the two passwords differ; nothing was changed") }
        return first
    }

    /// Prompts on standard error and reads a line that the terminal does not show.
    private static func ask(_ prompt: String) -> [UInt8] {
        var before = termios()
        tcgetattr(STDIN_FILENO, &before)
        var silent = before
        silent.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
        defer {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &before)
            say("\n")
        }
        say(prompt)
        return line()
    }

    private static func say(_ text: String) {
        let bytes = Array(text.utf8)
        _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
    }

    private static func line() -> [UInt8] {
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while Glibc.read(STDIN_FILENO, &byte, 1) == 1, byte != 0x0A, bytes.count <= PasswordHash.longestPassword {
            bytes.append(byte)
        }
        if bytes.last == 0x0D { bytes.removeLast() }
        return bytes
    }

    private static func checked(_ password: [UInt8]) throws -> [UInt8] {
        guard !password.isEmpty else { throw CommandFailure("an empty password was read; nothing was changed") }
        guard password.count <= PasswordHash.longestPassword, !password.contains(0) else {
            throw CommandFailure("a password is at most \(PasswordHash.longestPassword) octets without NUL")
        }
        return password
    }
}
