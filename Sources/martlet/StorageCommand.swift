// StorageCommand.swift — `martlet storage …`: the tables of a shared queue made or brought up to date, and mail moved to it and back.

import ArgumentParser
import Config
import Mail
import Storage

/// The sub-commands about where mail lives.
struct StorageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "storage",
        abstract: "Look after the database that several relays share.",
        subcommands: [MigrateStorage.self, ImportStorage.self, ExportStorage.self]
    )
}

/// Makes or changes the tables; exits 0 when they are as this program wants them.
struct MigrateStorage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Make the tables of storage.ini's database, or bring older ones up to date."
    )

    @OptionGroup var place: ConfigOption

    func run() throws {
        let options = try SharedPlace.options(place)
        do throws(QueueError) {
            let (before, now) = try SharedStore.migrate(options.place)
            print(before == now ? "version \(now): nothing to do" : "version \(before) became version \(now)")
        } catch {
            print("\(error)")
            throw ExitCode(1)
        }
    }
}

/// Moves a spool; exits 0 when nothing is left in it.
struct ImportStorage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Move what waits in a stopped relay's spool into storage.ini's database; run again, it goes on."
    )

    @OptionGroup var place: ConfigOption

    @Option(help: "The data directory of the stopped relay.")
    var data: String

    func run() throws {
        var options = try SharedPlace.options(place)
        options.node += "-import"
        options.isFollowed = false
        let shared = SharedStore(options, directory: "\(data)/import") { notice in
            if case .away(let reason) = notice { print("the database is away: \(reason)") }
        }
        do throws(QueueError) {
            let report = try SpoolImport(from: "\(data)/queue", to: shared).run()
            print(
                "\(report.moved) messages moved, \(report.known) were there already, \(report.unread) cannot be read and stay"
            )
            guard report.unread == 0 else { throw QueueError.damaged("see martlet spool check --data \(data)") }
        } catch {
            print("\(error)")
            throw ExitCode(1)
        }
    }
}

/// Moves a shared queue into a spool; exits 0 when nothing is left in the database.
struct ExportStorage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Move what waits in storage.ini's database, all nodes stopped, into a spool; run again, it goes on."
    )

    @OptionGroup var place: ConfigOption

    @Option(help: "The data directory of the relay that is to have it; no relay may run there.")
    var data: String

    func run() throws {
        var options = try SharedPlace.options(place)
        options.node += "-export"
        options.isFollowed = false
        options.takesOver = false
        let shared = SharedStore(options, directory: "\(data)/export") { notice in
            if case .away(let reason) = notice { print("the database is away: \(reason)") }
        }
        do throws(QueueError) {
            let report = try SharedExport(from: shared, to: "\(data)/queue").run()
            print(
                "\(report.moved) messages moved, \(report.known) were there already, \(report.unread) cannot be read and stay"
            )
            guard report.unread == 0 else { throw QueueError.damaged("see the rows of owner -1 in martlet.message") }
        } catch {
            print("\(error)")
            throw ExitCode(1)
        }
    }
}

/// The database that the configuration names.
enum SharedPlace {
    /// - Throws: an exit code, when there is none; the reason is printed.
    static func options(_ place: ConfigOption) throws -> SharedOptions {
        let (environment, _) = Environment.ofThisProcess()
        let settings = try ProcessSettings.read(place.directory(environment), environment).current
        guard let options = SharedOptions(settings) else {
            print("storage.ini names no database: queue = spool")
            throw ExitCode(1)
        }
        return options
    }
}
