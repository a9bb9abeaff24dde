// ProcessSettings.swift — the settings of this process: a directory of files, and what the environment says over them.

import ArgumentParser
import Config
import Files
import Mail

/// `--config`, for every sub-command that reads the configuration.
struct ConfigOption: ParsableArguments {
    /// Where packages put the data directory.
    static let usualData = "/var/lib/martlet"

    @Option(help: "The configuration directory; MARTLET_CONFIG_DIR, else /etc/martlet.")
    var config: String?

    /// Command line before environment before the place where packages put it.
    func directory(_ environment: Environment) -> String {
        config ?? environment.program["CONFIG_DIR"] ?? "/etc/martlet"
    }
}

/// Reads the settings of this process.
enum ProcessSettings {
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

    /// Why a relay does not start with settings that can be read: `serve` and `check` ask the same.
    static func obstacles(_ settings: Settings) -> [ConfigError] {
        var found = settings.obstacles
        do throws(ConfigErrors) { _ = try AdminAPI.certificate(settings.admin) } catch { found += error.errors }
        return found
    }

    /// For those who ask for some files only.
    ///
    /// - Throws: when there is no such directory.
    static func reader(_ directory: String, _ environment: Environment) throws(ConfigErrors) -> SettingsReader {
        SettingsReader(
            try ConfigDirectory(directory, disk: LinuxDisk()),
            hostName: HostName.ofMachine(),
            environment: environment
        )
    }

    /// Makes the data directory when it is missing.
    ///
    /// Others may pass through it, to what says where the relay listens; all else in it is closed to them.
    static func makeDataDirectory(_ path: String) throws(DiskError) {
        try LinuxDisk().makeDirectories(path, permissions: 0o711)
    }
}
