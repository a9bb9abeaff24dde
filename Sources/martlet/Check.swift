// Check.swift — `martlet check`: would `martlet serve` start with this configuration?

import ArgumentParser
import Config
import Mail
import Process

/// Reads every file and says what is wrong, one `file:line: reason` each.
///
/// Exits 0 when a relay would start, else 1.
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Read the configuration and say what is wrong with it.")

    @OptionGroup var place: ConfigOption

    func run() throws {
        let (environment, problems) = Environment.ofThisProcess()
        let config = place.directory(environment)
        do throws(ConfigErrors) {
            if let problems { throw problems }
            let lines = try Self.examine(config, environment)
            for line in lines { print(line) }
            print("\(config): configuration is valid")
        } catch {
            for error in error.errors { print("\(Self.path(error, config)): \(error.reason)") }
            throw ExitCode(1)
        }
    }

    /// Asks everything that `serve` asks before it starts.
    ///
    /// - Returns: warnings and notes, a line each.
    /// - Throws: all that would keep a relay from starting.
    static func examine(_ config: String, _ environment: Environment) throws(ConfigErrors) -> [String] {
        let problems = LogSettings(environment).problems
        let store: SettingsStore
        do throws(ConfigErrors) {
            store = try ProcessSettings.read(config, environment)
        } catch {
            throw ConfigErrors(problems + error.errors)
        }
        let obstacles = problems + ProcessSettings.obstacles(store.current) + objections(store.current.listener)
        guard obstacles.isEmpty else { throw ConfigErrors(obstacles) }
        let warnings = (store.warnings + store.current.hooks.unknownPlugins).map {
            "\(path($0, config)): warning: \($0.reason)"
        }
        return warnings + environment.notes.map { "note: \($0)" }
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
