// ConfigCommand.swift — `martlet config show`: what is set, and where.

import ArgumentParser
import Config
import Files
import JSON
import Operator

/// The configuration as this process would read it.
struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config",
        abstract: "Look at the configuration.",
        subcommands: [ShowConfig.self, ConfigHistoryCommand.self]
    )
}

/// Every key.
struct ShowConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract:
            "Show what is set in files and environment; with --origin also where, and the keys left at their default."
    )

    @OptionGroup var place: ConfigOption
    @Flag(help: "Say where each value comes from.")
    var origin = false
    @Flag(help: "A JSON array, for programs.")
    var json = false

    func run() throws {
        let (environment, problems) = Environment.ofThisProcess()
        let directory = place.directory(environment)
        let origins: [Origin]
        do throws(ConfigErrors) {
            if let problems { throw problems }
            let source = try ConfigDirectory(directory, disk: LinuxDisk())
            origins = try SettingsReader(source, hostName: "localhost", environment: environment).origins()
        } catch {
            for error in error.errors { Output.complain(error.description) }
            throw ExitCode(1)
        }
        let shown = origins.filter { origin || $0.value != nil }
        if json { return print(JSON.array(shown.map(Self.object)).text) }
        let head = ["file", "section", "key", "value", "origin"]
        print(
            Printout.table(
                head,
                shown.map { one in
                    [
                        one.file, one.section ?? "", one.key.isEmpty ? "-" : one.key, one.value ?? "",
                        origin ? Self.words(one) : "",
                    ]
                }
            )
        )
    }

    private static func words(_ origin: Origin) -> String {
        switch origin.place {
        case .standard: "default"
        case .line(let number): "\(origin.file):\(number)"
        case .variable(let name): "environment \(name)"
        }
    }

    private static func object(_ origin: Origin) -> JSON {
        var members: JSON = [
            "file": .string(origin.file), "section": origin.section.map { .string($0) } ?? .null,
            "key": origin.key.isEmpty ? .null : .string(origin.key), "value": origin.value.map { .string($0) } ?? .null,
        ]
        switch origin.place {
        case .standard: members["origin"] = "default"
        case .line(let number):
            members["origin"] = "file"
            members["line"] = .count(number)
        case .variable(let name):
            members["origin"] = "environment"
            members["variable"] = .string(name)
        }
        return members
    }
}
