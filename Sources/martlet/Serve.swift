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
        let (environment, problems) = ProcessSettings.environment()
        let log = LogSink(
            descriptor: STDERR_FILENO,
            format: try logFormat ?? environment.value("LOG_FORMAT") ?? .text,
            level: try logLevel ?? environment.value("LOG_LEVEL") ?? .notice,
            privacy: (try logAddresses ?? environment.value("LOG_ADDRESSES") ?? .full).privacy
        )
        defer { log.flush() }
        try Self.refuse(problems, log)
        for note in environment.notes { log.write(.notice, "environment understood") { $0.add(.reason, note) } }
        let config = place.directory(environment)
        let data = data ?? environment.program["DATA_DIR"] ?? "/var/lib/martlet"
        let settings = try readSettings(config, environment, data: data, log)
        for warning in settings.warnings { Self.log(warning, .warning, "configuration looks odd", to: log) }
        let metrics = PrometheusRegistry()
        MetricsSystem.bootstrap(metrics)
        do {
            let sockets = try takePlace(settings, data, log)
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
                    adminToken: try AdminToken.fromEnvironment(),
                    metrics: metrics
                )
            )
        } catch {
            log.write(.critical, "stopped by an error") { $0.add(.error, "\(error)") }
            throw ExitCode(1)
        }
    }

    /// Takes the sockets and gives root up.
    ///
    /// - Returns: the sockets that are there already; nil: bind as `smtp.ini` says.
    private func takePlace(_ settings: SettingsStore, _ data: String, _ log: LogSink) throws -> HeldSockets? {
        var sockets = try HeldSockets.inherited()
        let listener = settings.current.listener
        guard let name = user ?? listener.user else {
            if Privileges.isRoot {
                log.write(.warning, "running as root") {
                    $0.add(.reason, "name an unprivileged one: [main] user, or serve --user")
                }
            }
            return sockets
        }
        let wanted = AccountName(user: name, group: listener.group, mayBeShown: true)
        guard let account = try Privileges.account(wanted) else { return sockets }
        if sockets == nil {
            sockets = try HeldSockets.bound(
                plain: listener.listen.map(\.place),
                implicitTLS: listener.smtpsListen.map(\.place)
            )
        }
        try LinuxDisk().makeDirectories(data, permissions: 0o700)
        try Privileges.give(data, to: account)
        try Privileges.drop(to: account, dataPath: data)
        log.write(.notice, "root given up") { $0.add(.user, account.name) }
        // What root could read, the user has to be able to read as well: not only at the first reload.
        let broken = settings.reload(now: .now()).broken
        if !broken.isEmpty { try Self.refuse(ConfigErrors(broken), log) }
        return sockets
    }

    private func readSettings(
        _ config: String,
        _ environment: Environment,
        data: String,
        _ log: LogSink
    ) throws -> SettingsStore {
        do throws(ConfigErrors) {
            return try ProcessSettings.read(config, environment, data: data)
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
    /// `MARTLET_ADMIN_TOKEN`.
    let adminToken: String?
    /// Behind every counter of swift-metrics.
    let metrics: PrometheusRegistry
}

extension ListenAddress {
    /// - Returns: nil for what is no address of four or sixteen octets.
    init?(_ place: SocketPlace) {
        guard let ip = IPAddress(bytes: place.octets) else { return nil }
        self.init(ip: ip, port: place.port)
    }

    var place: SocketPlace { SocketPlace(octets: Array(ip.bytes), port: port) }
}

/// `--log-addresses`.
enum LogAddresses: String, CaseIterable, ExpressibleByArgument {
    case full, domain, hash

    /// The hash is keyed by chance: the same for an address until the next start, and nothing to look it up by.
    var privacy: AddressPrivacy? {
        switch self {
        case .full: return nil
        case .domain: return .domain
        case .hash:
            let key = (0..<32).map { _ in UInt8.random(in: .min ... .max) }
            return .hash { address in
                let code = KeyedHash.hmac(.sha256, key: key, message: Array(address.utf8))
                return code.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            }
        }
    }
}

extension LogFormat: ExpressibleByArgument {}

extension LogLevel: ExpressibleByArgument {
    init?(argument: String) { self.init(argument) }

    static var allValueStrings: [String] { allCases.map(\.name) }
}
