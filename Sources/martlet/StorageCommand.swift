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

    @OptionGroup var move: StorageMove

    func run() throws {
        try move.run("import", takesOver: true, whatStays: "see martlet spool check --data \(move.data)") {
            (shared, spool) throws(QueueError) in
            try SpoolImport(from: spool, to: shared).run()
        }
    }
}

/// Moves a shared queue into a spool; exits 0 when nothing is left in the database.
struct ExportStorage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Move what waits in storage.ini's database, all nodes stopped, into a spool; run again, it goes on."
    )

    @OptionGroup var move: StorageMove

    func run() throws {
        try move.run("export", takesOver: false, whatStays: "see the rows of owner -1 in martlet.message") {
            (shared, spool) throws(QueueError) in
            try SharedExport(from: shared, to: spool).run()
        }
    }
}

/// Where mail is moved between: the database that the configuration names, and a spool.
struct StorageMove: ParsableArguments {
    @OptionGroup var place: ConfigOption

    @Option(help: "The data directory of the stopped relay whose spool it is; no relay may run there.")
    var data: String

    /// Moves, and prints what came of it.
    ///
    /// - Parameters:
    ///   - name: what the node of the move is called by.
    ///   - takesOver: it may adopt mail of nodes that are gone.
    ///   - whatStays: where to look for what could not be read.
    func run(
        _ name: String,
        takesOver: Bool,
        whatStays: String,
        _ body: (SharedStore, _ spool: String) throws(QueueError) -> SpoolImport.Report
    ) throws {
        var options = try SharedPlace.options(place)
        options.node += "-\(name)"
        options.isFollowed = false
        options.takesOver = takesOver
        let shared = SharedStore(options, directory: "\(data)/\(name)") { notice in
            if case .away(let reason) = notice { print("the database is away: \(reason)") }
        }
        do throws(QueueError) {
            let report = try body(shared, "\(data)/queue")
            print(
                "\(report.moved) messages moved, \(report.known) were there already, \(report.unread) cannot be read and stay"
            )
            guard report.unread == 0 else { throw QueueError.damaged(whatStays) }
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
