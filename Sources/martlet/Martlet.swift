// Martlet.swift — the executable and its sub-commands. What each does is in the file of its name.

import ArgumentParser
import Glibc
import Operator

/// Where the process begins: called by one of Postfix's names it does what that does, else it is `martlet`.
@main
enum Program {
    static func main() {
        if let dropIn = CommandLine.arguments.first.flatMap({ DropIn(program: $0) }) {
            exit(dropIn.run(Array(CommandLine.arguments.dropFirst()), place: SubmissionPlace.ofThisMachine))
        }
        Martlet.main()
    }
}

/// The sub-commands.
struct Martlet: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet",
        abstract: "An outbound mail relay: takes mail over SMTP, keeps it safe, and gets it to its next hop.",
        version: Version.text,
        subcommands: [
            Serve.self, Check.self, SpoolCommand.self, ConfigCommand.self, TokenCommand.self, PasswdCommand.self,
            TLSCommand.self, ACMECommand.self, OAuthCommand.self, DKIMCommand.self, DoctorCommand.self,
            ClassifyCommand.self, StorageCommand.self, HookCommand.self,
        ] + OperatorCommands.all + [Version.self]
    )
}

/// Prints the version.
struct Version: ParsableCommand {
    static let text = "0.1.0"
    static let configuration = CommandConfiguration(abstract: "Print the version.")

    func run() { print("martlet \(Self.text)") }
}
