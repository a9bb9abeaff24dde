// DKIMCommand.swift — `martlet dkim generate`: a key, its line in `dkim.ini`, and the record for the DNS.

import ArgumentParser
import Config
import Files
import Glibc
import Mail
import OpenSSL

/// The sub-commands about DKIM.
struct DKIMCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dkim",
        abstract: "Make keys that sign mail.",
        subcommands: [GenerateDKIM.self, RotateDKIM.self, ShowDKIM.self]
    )
}

/// Makes a key.
struct GenerateDKIM: ParsableCommand {
    /// The algorithms of RFC 6376 and RFC 8463.
    enum Kind: String, ExpressibleByArgument, CaseIterable {
        case rsa, ed25519
    }

    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Make a key for a domain, name it in dkim.ini, and print the record for the DNS.",
        discussion: "A running relay signs with it at once: publish the record first with --unused, or right away."
    )

    @Argument(help: "The domain of the From field, for example example.org.")
    var domain: String

    @OptionGroup var place: ConfigOption

    @Option(help: "The key's name in the DNS; default: r or e and the date.")
    var selector: String?

    @Option(help: "rsa or ed25519.")
    var type = Kind.rsa

    @Option(help: "Bits of an RSA key.")
    var bits = 2048

    @Flag(help: "Only write the key; name it in dkim.ini yourself once the record is published.")
    var unused = false

    func run() throws {
        let domain = try DKIMName.domain(domain)
        let selector = self.selector ?? "\(type == .rsa ? "r" : "e")\(DKIMName.day(.now()))"
        guard DKIMSettings.isSelector(selector) else {
            throw CommandFailure("\(selector) is no selector: lower-case letters, digits and hyphens")
        }
        let (environment, _) = Environment.ofThisProcess()
        let directory = place.directory(environment)
        let key = try make()
        let file = DKIMSettings.keyFile(domain, selector)
        do throws(DiskError) {
            try DKIMKeyFiles(directory).write(key, domain, selector)
        } catch {
            throw CommandFailure("\(error); choose another --selector for a new key")
        }
        if !unused { try name(selector, domain, directory, environment) }
        print(DKIMRecord(domain, selector, key).zoneLine)
        print("; the key is in \(directory)/\(file); the user that martlet runs as must be able to read it")
    }

    private func make() throws -> SigningKey {
        guard (1024...8192).contains(bits) else { throw CommandFailure("an RSA key has 1024 to 8192 bits") }
        do throws(TLSError) {
            return try SigningKey.generate(type == .rsa ? .rsa(bits: bits) : .ed25519)
        } catch {
            throw CommandFailure(
                "the key cannot be made, and nothing is changed: \(error); try again, or another --type"
            )
        }
    }

    /// Adds the selector to the section of its domain.
    private func name(_ selector: String, _ domain: Domain, _ directory: String, _ environment: Environment) throws {
        let store: SettingsStore
        do throws(ConfigErrors) {
            store = try ProcessSettings.read(directory, environment, allowsBroken: true)
        } catch {
            throw CommandFailure("the key is written; dkim.ini is not changed, because of\n\(error)")
        }
        do throws(EditFailure<ConfigError>) {
            try store.edit(.dkim, operation: "add selector", key: "\(domain) \(selector)") {
                (document) throws(ConfigError) in
                let old = document.value("selectors", in: domain.name)
                try document.set("selectors", to: old.map { "\($0), \(selector)" } ?? selector, in: domain.name)
            }
        } catch {
            throw CommandFailure("the key is written; dkim.ini is not changed: \(error)")
        }
    }
}

/// Prints the record of a key that is there.
struct ShowDKIM: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Print the record for the DNS of a key again."
    )

    @Argument(help: "The domain.")
    var domain: String

    @Argument(help: "The selector.")
    var selector: String

    @OptionGroup var place: ConfigOption

    func run() throws {
        let domain = try DKIMName.domain(domain)
        let (environment, _) = Environment.ofThisProcess()
        let path = "\(place.directory(environment))/\(DKIMSettings.keyFile(domain, selector))"
        guard DKIMSettings.isSelector(selector), let pem = try? LinuxDisk().contents(of: path, limit: 64 << 10),
            let key = try? SigningKey(pem: pem)
        else { throw CommandFailure("\(path) is no key that can be read; martlet dkim generate makes one") }
        print(DKIMRecord(domain, selector, key).zoneLine)
    }
}

/// What names on the command line are.
enum DKIMName {
    static func domain(_ text: String) throws -> Domain {
        guard let domain = Domain(text), domain.literal == nil else {
            throw CommandFailure("\(text) is no domain")
        }
        return domain
    }

    /// `20261122`.
    static func day(_ time: Timestamp) -> String { DKIMKeyFiles.day(time) }
}
