// ACMECommand.swift — `martlet acme now`: a certificate at once, with what goes wrong on the terminal.

import ACME
import ArgumentParser
import Config
import Mail

/// The sub-commands about certificates of an authority.
struct ACMECommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "acme",
        abstract: "Certificates from an authority such as Let's Encrypt.",
        subcommands: [ACMENow.self]
    )
}

/// Gets one.
struct ACMENow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "now",
        abstract: "Get a certificate now, whether one is due or not, as tls.ini says.",
        discussion: "A running relay takes it up by itself. Run it as the user that martlet runs as."
    )

    @OptionGroup var place: ConfigOption
    @Option(help: "The data directory; MARTLET_DATA_DIR, else /var/lib/martlet.")
    var data: String?

    func run() throws {
        let (environment, problems) = Environment.ofThisProcess()
        let directory = place.directory(environment)
        let settings: Settings
        do throws(ConfigErrors) {
            if let problems { throw problems }
            settings = try ProcessSettings.read(directory, environment, allowsBroken: true).current
        } catch {
            throw CommandFailure(error.description)
        }
        let path = data ?? environment.program["DATA_DIR"] ?? ConfigOption.usualData
        try get(CertificateIssuer(settings, configPath: directory, dataPath: path))
    }

    private func get(_ issuer: CertificateIssuer) throws {
        do throws(ACMEError) { try issuer.issue(at: .now()) } catch { throw CommandFailure(error.reason) }
        let days = issuer.current.map { ($0.life.end - Int(Timestamp.now().milliseconds / 1000)) / 86_400 } ?? 0
        print("a certificate for \(issuer.names.joined(separator: ", ")), good for \(days) days")
    }
}
