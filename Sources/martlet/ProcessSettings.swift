// ProcessSettings.swift — the settings of this process: a directory of files, and what the environment says over them.

import ArgumentParser
import Config
import Files
import Mail
import Operator
import Process

/// `--config`, for every sub-command that reads the configuration.
struct ConfigOption: ParsableArguments {
    @Option(help: "The configuration directory; MARTLET_CONFIG_DIR, else /etc/martlet.")
    var config: String?

    /// Command line before environment before the place where packages put it.
    func directory(_ environment: Environment) -> String {
        config ?? environment.program["CONFIG_DIR"] ?? "/etc/martlet"
    }
}

/// Reads the settings of this process.
enum ProcessSettings {
    /// Larger files are no values of settings.
    private static let largestValue = 1 << 20

    /// What the environment says; when it says something wrong, an empty one and what is wrong.
    static func environment() -> (Environment, ConfigErrors?) {
        let disk = LinuxDisk()
        do throws(ConfigErrors) {
            let environment = try Environment(
                ProcessEnvironment.all().mapValues { String(decoding: $0, as: UTF8.self) }
            ) { path throws(ConfigError) in
                do throws(DiskError) {
                    return try disk.contents(of: path, limit: largestValue)
                } catch {
                    if error.isMissing { return nil }
                    throw ConfigError(file: path, reason: "cannot be read: \(error)")
                }
            }
            return (environment, nil)
        } catch {
            return (Environment(), error)
        }
    }

    /// Where `sendmail` hands mail in: the first address of `smtp.ini`, the shipped one when we may not read that.
    ///
    /// It asks for two files alone, because those with passwords are closed to ordinary users.
    static func submissionPlace() -> SubmissionPlace {
        let environment = environment().0
        let directory = (try? ConfigOption.parse([]).directory(environment)) ?? "/etc/martlet"
        func text(_ file: String) -> String {
            let bytes = try? LinuxDisk().contents(of: "\(directory)/\(file)", limit: largestValue)
            return bytes.map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        let listen = INIDocument(parsing: text("smtp.ini")).value("listen", in: nil) ?? ""
        let first = listen.split { $0 == "," || $0 == " " }.lazy.compactMap { ListenAddress($0) }.first
        let loopback = first?.ip.isV6 == true ? "::1" : "127.0.0.1"
        let isAny = first?.ip.isUnspecified ?? true
        let name = text("me").split(separator: "\n").first { !$0.hasPrefix("#") && !$0.hasPrefix(";") }
        return SubmissionPlace(
            address: isAny ? loopback : first?.ip.description ?? loopback,
            port: first?.port ?? 2525,
            hostName: HostName.valid(name.map(String.init) ?? HostName.ofMachine()).name
        )
    }

    /// - Parameters:
    ///   - data: the data directory of the relay that will run with these settings; nil: they are only looked at or edited.
    ///   - allowsBroken: files that are broken have their defaults, for whoever edits another one.
    /// - Throws: all that is wrong with the files, or with what the environment puts in their place.
    static func read(
        _ directory: String,
        _ environment: Environment,
        data: String? = nil,
        allowsBroken: Bool = false
    ) throws(ConfigErrors) -> SettingsStore {
        let disk = LinuxDisk()
        return try SettingsStore(
            ConfigDirectory(directory, disk: disk, copies: data.map { "\($0)/config-history" }),
            hostName: HostName.ofMachine(),
            environment: environment,
            switchFile: data.map { SwitchFile($0, disk: disk) },
            allowsBroken: allowsBroken,
            examining: CertificatesInForce.check,
            now: .now()
        )
    }
}

extension Environment {
    /// A value for the program.
    ///
    /// - Throws: when it is none that the option would take.
    func value<Value: ExpressibleByArgument>(_ name: String) throws -> Value? {
        guard let text = program[name] else { return nil }
        guard let value = Value(argument: text) else {
            let known = Value.allValueStrings.joined(separator: ", ")
            throw ValidationError("the environment's \(name) is \"\(text)\", which is none of \(known)")
        }
        return value
    }
}
