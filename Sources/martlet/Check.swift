// Check.swift — `martlet check`: would `martlet serve` start with this configuration?

import ArgumentParser
import Config

/// Reads every file and says what is wrong, one `file:line: reason` each.
///
/// Exits 0 when a relay would start, else 1.
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Read the configuration and say what is wrong with it.")

    @OptionGroup var place: ConfigOption

    func run() throws {
        let (environment, problems) = ProcessSettings.environment()
        let config = place.directory(environment)
        do throws(ConfigErrors) {
            if let problems { throw problems }
            let store = try ProcessSettings.read(config, environment)
            for warning in store.warnings + store.current.hooks.unknownPlugins {
                print("\(path(warning, config)): warning: \(warning.reason)")
            }
            for note in environment.notes { print("note: \(note)") }
            print("\(config): configuration is valid")
        } catch {
            for error in error.errors { print("\(path(error, config)): \(error.reason)") }
            throw ExitCode(1)
        }
    }

    private func path(_ error: ConfigError, _ config: String) -> String {
        let file = error.file == config || error.file == Environment.name ? error.file : "\(config)/\(error.file)"
        return error.line.map { "\(file):\($0)" } ?? file
    }
}
