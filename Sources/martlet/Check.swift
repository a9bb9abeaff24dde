// Check.swift — `martlet check`: would `martlet serve` start with this configuration?

import ArgumentParser
import Config
import Loop
import Mail
import Process

/// Reads every file and says what is wrong, one `file:line: reason` each; then, in three sentences, what the whole comes to.
///
/// Exits 0 when a relay would start, else 1.
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Read the configuration and say what is wrong with it.")

    /// What was found.
    struct Report {
        /// All that would keep a relay from starting.
        var errors: [ConfigError] = []
        var warnings: [ConfigError] = []
        /// What was understood of the environment in another way than it was written.
        var notes: [String] = []
        /// What would be in force; nil when nothing would.
        var settings: Settings?
    }

    @OptionGroup var place: ConfigOption

    @Flag(help: "Fail on warnings too.")
    var strict = false

    func run() throws {
        let (environment, problems) = Environment.ofThisProcess()
        let config = place.directory(environment)
        let report = Self.examine(config, environment, problems)
        for error in report.errors { print("\(Self.path(error, config)): \(error.reason)") }
        for warning in report.warnings { print("\(Self.path(warning, config)): warning: \(warning.reason)") }
        for note in report.notes { print("note: \(note)") }
        guard report.errors.isEmpty, let settings = report.settings else { throw ExitCode(1) }
        if strict, !report.warnings.isEmpty {
            print("\(config): configuration is valid, and --strict takes no warnings")
        } else {
            print("\(config): configuration is valid")
        }
        for sentence in settings.sentences { print(sentence) }
        if strict, !report.warnings.isEmpty { throw ExitCode(1) }
    }

    /// Asks everything that `serve` asks before it starts.
    ///
    /// - Parameter problems: what is wrong with the environment.
    static func examine(_ config: String, _ environment: Environment, _ problems: ConfigErrors? = nil) -> Report {
        let errors = (problems?.errors ?? []) + LogSettings(environment).problems
        var report = Report(errors: errors, notes: environment.notes)
        do throws(ConfigErrors) {
            // Broken parts too, so that one mistake does not hide what the other files say.
            let store = try ProcessSettings.read(config, environment, allowsBroken: true)
            report.errors += store.health.current.errors
            report.warnings = store.warnings + store.current.hooks.unknownPlugins
            report.settings = store.current
        } catch {
            report.errors += error.errors
        }
        guard report.errors.isEmpty, let settings = report.settings else { return report }
        if let remark = settings.admin.remarkOnMetrics { report.notes.append(remark) }
        report.errors = ProcessSettings.obstacles(settings) + objections(settings.listener)
        return report
    }

    /// The account that root would become.
    private static func objections(_ listener: ListenerSettings) -> [ConfigError] {
        guard let user = listener.user else { return [] }
        let wanted = AccountName(user: user, group: listener.group, mayBeShown: true)
        let objection = Privileges.objection(to: wanted)
        return objection.map { [ConfigError(file: ListenerSettings.file, reason: $0.description)] } ?? []
    }

    private static func path(_ error: ConfigError, _ config: String) -> String {
        let isWhole = error.file.isSame(octets: config) || error.file.isSame(octets: Environment.name)
        let file = isWhole ? error.file : "\(config)/\(error.file)"
        return error.line.map { "\(file):\($0)" } ?? file
    }
}
