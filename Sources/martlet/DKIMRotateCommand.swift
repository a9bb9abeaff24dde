// DKIMRotateCommand.swift — `martlet dkim rotate`: the next step of a change of keys, whichever that is.
//
// Each step leaves the relay in order and says what comes next, so it may be run by hand or once a day.

import ArgumentParser
import Config
import DNS
import Departure
import Files
import Glibc
import Mail
import NIOCore
import NIOPosix
import OpenSSL

/// Takes the next step.
struct RotateDKIM: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract: "Change the key of a domain without a gap: each call takes the next step, and says what comes then.",
        discussion: """
            First a new key is made and its record printed; when the DNS has it, the key signs from now on, or from \
            --sign-from on, in the place of those of its kind; when --keep-days are over, the old key is taken away. Until \
            then the old record has to stay in the DNS. Exit status 75 while the DNS does not have the record.
            """
    )

    @Argument(help: "The domain.")
    var domain: String
    @Option(help: "The new key's name in the DNS; default: r or e and the date.")
    var selector: String?
    @Option(help: "rsa or ed25519: keys of that kind are replaced.")
    var type = GenerateDKIM.Kind.rsa
    @Option(help: "Bits of an RSA key.")
    var bits = 2048
    @Option(
        name: .customLong("sign-from"),
        help: "When the new key is to sign, such as 2027-01-31T12:00:00Z; default: now."
    )
    var signFrom: String?
    @Option(name: .customLong("keep-days"), help: "For how long the old record stays in the DNS; default: 14.")
    var keepDays: Int?
    @Flag(help: "Only say how far it is.")
    var status = false
    @OptionGroup var place: ConfigOption

    func run() throws {
        let domain = try DKIMName.domain(domain)
        let (environment, _) = Environment.ofThisProcess()
        let directory = place.directory(environment)
        let store: SettingsStore
        do throws(ConfigErrors) {
            store = try ProcessSettings.read(directory, environment)
        } catch {
            throw CommandFailure("nothing is changed, because of\n\(error)")
        }
        guard keepDays.map((1...365).contains) ?? true else { throw CommandFailure("--keep-days is from 1 to 365") }
        let step = Step(domain: domain, directory: directory, store: store)
        switch store.current.dkim.rotations[domain].map({ ($0, $0.stage(at: .now())) }) {
        case nil:
            if status { return print("\(domain): no key is about to change") }
            try step.prepare(selector, type, bits, keepDays)
        case (let rotation, .prepared)?: try step.schedule(rotation, from: time(), keepDays, isAsked: !status)
        case (let rotation, .scheduled(let time))?:
            print("\(domain): \(rotation.names) signs from \(time.rfc3339) on")
        case (let rotation, .switched(let end))?:
            print("\(domain): \(rotation.names) signs; keep the records of \(step.old) in the DNS until \(end.rfc3339)")
        case (let rotation, .over)?:
            if status {
                return print("\(domain): \(rotation.names) signs, and \(step.old) may go: run this without --status")
            }
            try step.finish(rotation)
        }
    }

    private func time() throws -> Timestamp {
        guard let signFrom else { return .now() }
        guard let time = Timestamp(rfc3339: signFrom) else {
            throw CommandFailure("--sign-from is a time such as 2027-01-31T12:00:00Z")
        }
        return time
    }
}

extension DKIMRotation {
    fileprivate var names: String { next.map(\.selector).joined(separator: ", ") }
}

/// A step with what it works on.
private struct Step {
    let domain: Domain
    let directory: String
    let store: SettingsStore

    /// Selectors that are replaced.
    var old: String {
        let dkim = store.current.dkim
        let (keys, rotation) = (dkim.domains[domain] ?? [], dkim.rotations[domain])
        let kept = rotation?.kept(of: keys).map(\.selector) ?? []
        let gone = keys.map(\.selector).filter { !kept.contains($0) }
        return gone.isEmpty ? "nobody" : gone.joined(separator: ", ")
    }

    func prepare(_ selector: String?, _ type: GenerateDKIM.Kind, _ bits: Int, _ keepDays: Int?) throws {
        guard (1024...8192).contains(bits) else { throw CommandFailure("an RSA key has 1024 to 8192 bits") }
        let files = DKIMKeyFiles(directory)
        let name = selector ?? files.freshSelector(domain, isRSA: type == .rsa, at: .now())
        guard DKIMSettings.isSelector(name) else {
            throw CommandFailure("\(name) is no selector: lower-case letters, digits and hyphens")
        }
        let key: SigningKey
        do throws(TLSError) { key = try SigningKey.generate(type == .rsa ? .rsa(bits: bits) : .ed25519) } catch {
            throw CommandFailure(
                "the key cannot be made, and nothing is changed: \(error); try again, or another --type"
            )
        }
        do throws(DiskError) { try files.write(key, domain, name) } catch {
            throw CommandFailure("\(error); choose another --selector for a new key")
        }
        try edit("prepare rotation") { (document) throws(ConfigError) in
            try DKIMTurn.prepare(domain, [name], keepDays: keepDays, in: &document)
        }
        print(DKIMRecord(domain, name, key).zoneLine)
        print("; \(name) signs nothing yet: publish this record, then run `martlet dkim rotate \(domain)` again")
    }

    func schedule(_ rotation: DKIMRotation, from time: Timestamp, _ keepDays: Int?, isAsked: Bool) throws {
        var missing = false
        for (key, publication) in zip(rotation.next, try looked(rotation)) {
            print("\(DKIMRecord(domain, key.selector, key.key).name) \(publication.words)")
            missing = missing || publication != .published
        }
        guard !missing else {
            for key in rotation.next { print(DKIMRecord(domain, key.selector, key.key).zoneLine) }
            print("; nothing is changed: publish the record, and run this again when the DNS has it")
            throw ExitCode(75)
        }
        guard isAsked else { return print("\(domain): \(rotation.names) may sign: run this without --status") }
        try edit("schedule rotation") { (document) throws(ConfigError) in
            try DKIMTurn.schedule(domain, from: time, keepDays: keepDays, in: &document)
        }
        let days = keepDays ?? rotation.keepDays
        print("\(domain): \(rotation.names) signs from \(time.rfc3339) on, in the place of \(old)")
        print("keep the old record in the DNS for \(days) days after that; then run this again")
    }

    func finish(_ rotation: DKIMRotation) throws {
        let keys = store.current.dkim.domains[domain] ?? []
        let signing = rotation.keys(keys, at: .now()).map(\.selector)
        let gone = keys.map(\.selector).filter { !signing.contains($0) }
        try edit("finish rotation") { (document) throws(ConfigError) in
            try DKIMTurn.finish(domain, signing, in: &document)
        }
        for selector in gone { try? DKIMKeyFiles(directory).remove(domain, selector) }
        print("\(domain): \(signing.joined(separator: ", ")) signs alone")
        for selector in gone { print("take \(selector)._domainkey.\(domain) out of the DNS") }
    }

    private func looked(_ rotation: DKIMRotation) throws -> [DKIMPublication] {
        let (domain, settings) = (domain, store.current.resolver)
        return try MultiThreadedEventLoopGroup.singleton.next().makeFutureWithTask {
            let resolver = try UnboundResolver(UnboundResolver.Options(settings))
            var found: [DKIMPublication] = []
            for key in rotation.next {
                found.append(await DKIMPublication.look(at: DKIMRecord(domain, key.selector, key.key), resolver))
            }
            return found
        }.wait()
    }

    private func edit(_ operation: String, _ change: (inout INIDocument) throws(ConfigError) -> Void) throws {
        do throws(EditFailure<ConfigError>) {
            _ = try store.edit(.dkim, operation: operation, key: "\(domain)", change)
        } catch {
            throw CommandFailure("dkim.ini is not changed: \(error)")
        }
    }
}
