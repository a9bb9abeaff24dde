// TLSCommand.swift — `martlet tls self-signed`: a key and a certificate for a first start.

import ArgumentParser
import Config
import Files
import Mail
import OpenSSL

/// The sub-commands about certificates.
struct TLSCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tls",
        abstract: "Certificates for clients that connect with TLS.",
        subcommands: [SelfSigned.self]
    )
}

/// Writes `tls_key.pem` and `tls_cert.pem`.
struct SelfSigned: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "self-signed",
        abstract: "Make tls_key.pem and tls_cert.pem, signed by nobody else, for a first start.",
        discussion: """
            A running relay takes them within two seconds and offers STARTTLS. Clients that verify certificates refuse such \
            a one unless they are given tls_cert.pem as their authority.
            """
    )

    @OptionGroup var place: ConfigOption

    @Option(help: "A host name or address to stand in it; may be repeated. The name of `me` when there is none.")
    var name: [String] = []

    @Option(help: "Days until it expires.")
    var days = 3650

    @Flag(help: "An RSA key of 2048 bits instead of ECDSA P-256, for clients that know no other.")
    var rsa = false

    @Flag(help: "Replace files that are there.")
    var force = false

    func validate() throws {
        guard (1...36_500).contains(days) else { throw ValidationError("--days is a number from 1 to 36500") }
    }

    func run() throws {
        let (environment, _) = Environment.ofThisProcess()
        let directory = place.directory(environment)
        let disk = LinuxDisk()
        do {
            let names = try name.isEmpty ? [ownName(directory, environment)] : name
            let (key, certificate) = ("\(directory)/tls_key.pem", "\(directory)/tls_cert.pem")
            for file in [key, certificate] where !force {
                guard try disk.status(file, following: true) == nil else {
                    print("\(file) is there already; --force replaces it")
                    throw ExitCode(1)
                }
            }
            var request = CertificatePair.Request(names: names)
            request.days = days
            if rsa { request.kind = .rsa(bits: 2048) }
            let pair = try CertificatePair.make(request)
            try disk.replace(key, with: pair.key, permissions: 0o600)
            try disk.replace(certificate, with: pair.certificates, permissions: 0o644)
            print("\(key) and \(certificate) for \(names.joined(separator: ", ")), valid for \(days) days")
        } catch let error as ExitCode {
            throw error
        } catch {
            print("\(error)")
            throw ExitCode(1)
        }
    }

    private func ownName(_ directory: String, _ environment: Environment) throws(ConfigErrors) -> String {
        let source = try ConfigDirectory(directory, disk: LinuxDisk())
        let reader = SettingsReader(source, hostName: HostName.ofMachine(), environment: environment)
        return try reader.name().name
    }
}
