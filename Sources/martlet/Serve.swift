// Serve.swift — `martlet serve`: options, log and settings; then ``Wiring`` builds the relay and runs it.

import Admin
import ArgumentParser
import Config
import CoreMetrics
import Files
import Glibc
import Log
import Mail
import OpenSSL
import Process

/// Runs the relay in the foreground until SIGTERM or SIGINT.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the relay in the foreground, logging on standard error."
    )

    @OptionGroup var place: ConfigOption

    @Option(help: "The data directory, one process at a time; MARTLET_DATA_DIR, else /var/lib/martlet.")
    var data: String?

    @Option(name: .customLong("log-format"), help: "How a line looks; MARTLET_LOG_FORMAT, else text.")
    var logFormat: LogFormat?

    @Option(name: .customLong("log-addresses"), help: "Mail addresses in the log; MARTLET_LOG_ADDRESSES, else full.")
    var logAddresses: LogAddresses?

    @Option(
        name: .customLong("log-level"),
        help: "The least important level to write; MARTLET_LOG_LEVEL, else notice."
    )
    var logLevel: LogLevel?

    @Option(help: "Who root becomes once the sockets are bound; else [main] user of smtp.ini.")
    var user: String?

    func run() throws {
        Privileges.forbidCores()
        // Before any thread is made, so that every thread inherits the mask and the main thread alone gets the signals.
        let signals = Signals()
        var (environment, problems) = Environment.ofThisProcess()
        let logging = LogSettings(environment, format: logFormat, level: logLevel, addresses: logAddresses)
        let log = logging.sink(STDERR_FILENO)
        defer { log.flush() }
        try Self.refuse(problems, log)
        try Self.refuse(logging.problems.isEmpty ? nil : ConfigErrors(logging.problems), log)
        let config = place.directory(environment)
        let data = data ?? environment.program["DATA_DIR"] ?? ConfigOption.usualData
        do {
            let (sockets, account) = try takePlace(config, environment, data, log)
            if let account {
                log.write(.notice, "root given up") { $0.add(.user, account.name) }
                // What root could read, the user has to be able to read as well: nothing that was read before counts.
                (environment, problems) = Environment.ofThisProcess()
                try Self.refuse(problems, log)
            }
            for note in environment.notes { log.write(.notice, "environment understood") { $0.add(.reason, note) } }
            let settings = try readSettings(config, environment, data: data, log)
            if !Privileges.isRoot, account == nil, let name = user ?? settings.current.listener.user {
                let group = settings.current.listener.group
                _ = try Privileges.account(AccountName(user: name, group: group, mayBeShown: true))
            }
            for warning in settings.warnings { Self.log(warning, .warning, "configuration looks odd", to: log) }
            let metrics = PrometheusRegistry()
            MetricsSystem.bootstrap(metrics)
            try Wiring.run(
                Launch(
                    configPath: config,
                    dataPath: data,
                    settings: settings,
                    log: log,
                    signals: signals,
                    title: ProcessTitle(),
                    sockets: sockets,
                    heap: HeapCare(),
                    metrics: metrics
                )
            )
        } catch let exit as ExitCode {
            throw exit
        } catch {
            log.write(.critical, "stopped by an error") { $0.add(.error, "\(error)") }
            throw ExitCode(1)
        }
    }

    /// Takes the sockets and gives root up.
    ///
    /// Root reads no more for it than `smtp.ini`, and repeats nothing of what stands there: the relay's user may be able
    /// to put a link to another file in its place.
    /// - Returns: the sockets that are there already, nil: bind as `smtp.ini` says; and who we are now, nil: as before.
    private func takePlace(
        _ config: String,
        _ environment: Environment,
        _ data: String,
        _ log: LogSink
    ) throws -> (HeldSockets?, Account?) {
        var sockets = try HeldSockets.inherited()
        guard Privileges.isRoot else { return (sockets, nil) }
        let listener: ListenerSettings
        do throws(ConfigErrors) {
            listener = try ProcessSettings.reader(config, environment).listenerWithoutWords()
        } catch {
            try Self.refuse(error, log)
            throw ExitCode(1)
        }
        guard let name = user ?? listener.user else {
            log.write(.warning, "running as root") {
                $0.add(.reason, "name an unprivileged one: [main] user, or serve --user")
            }
            return (sockets, nil)
        }
        let wanted = AccountName(user: name, group: listener.group, mayBeShown: user != nil && listener.group == nil)
        guard let account = try Privileges.account(wanted) else { return (sockets, nil) }
        if sockets == nil {
            sockets = try HeldSockets.bound(
                plain: listener.plainPlaces.map { $0.place(among: listener) },
                implicitTLS: listener.securePlaces.map { $0.place(among: listener) }
            )
        }
        try ProcessSettings.makeDataDirectory(data)
        try Privileges.give(data, to: account)
        try Privileges.drop(to: account, dataPath: data)
        return (sockets, account)
    }

    private func readSettings(
        _ config: String,
        _ environment: Environment,
        data: String,
        _ log: LogSink
    ) throws -> SettingsStore {
        do throws(ConfigErrors) {
            let settings = try ProcessSettings.read(config, environment, data: data)
            let obstacles = ProcessSettings.obstacles(settings.current)
            guard obstacles.isEmpty else { throw ConfigErrors(obstacles) }
            return settings
        } catch {
            try Self.refuse(error, log)
            throw ExitCode(1)
        }
    }

    private static func refuse(_ errors: ConfigErrors?, _ log: LogSink) throws {
        guard let errors else { return }
        for error in errors.errors { Self.log(error, .critical, "configuration is invalid", to: log) }
        throw ExitCode(1)
    }

    /// One line about a place in a configuration file, also for what a reload finds.
    static func log(_ error: ConfigError, _ level: LogLevel, _ message: StaticString, to log: LogSink) {
        log.write(level, message) { line in
            line.add(.file, error.file)
            if let number = error.line { line.add(.line, number) }
            line.add(.reason, error.reason)
        }
    }
}

/// What the command line came to: handed to ``Wiring``.
struct Launch {
    let configPath: String
    let dataPath: String
    let settings: SettingsStore
    let log: LogSink
    let signals: Signals
    let title: ProcessTitle
    /// Listening sockets that are there already; nil: none.
    let sockets: HeldSockets?
    let heap: HeapCare
    /// Behind every counter of swift-metrics.
    let metrics: PrometheusRegistry
}

extension ListenAddress {
    /// - Returns: nil for what is no address of four or sixteen octets.
    init?(_ place: SocketPlace) {
        guard let ip = IPAddress(bytes: place.octets) else { return nil }
        self.init(ip: ip, port: place.port)
    }

    func place(among listener: ListenerSettings) -> SocketPlace {
        let isV6Only = isV6Only(among: listener.everywhere)
        return SocketPlace(octets: Array(ip.bytes), port: port, isV6Only: isV6Only)
    }
}
