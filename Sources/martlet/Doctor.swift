// Doctor.swift — `martlet doctor`: what keeps mail from leaving or arriving, each with its remedy.
//
// It changes nothing and sends no mail. Each examination is a function of its own that returns findings; the files
// `Doctor+….swift` hold them by topic.

import ArgumentParser
import Config
import DNS
import Mail
import NIOCore
import NIOPosix
import Operator

/// Examines configuration, names, network and disk.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Examine what delivery depends on, and say what to do; exit status 1 when something is wrong.",
        discussion: """
            Asks the DNS, opens connections to ports 25, 465 and 587 and to the smart host, and logs in there; it sends no \
            mail and changes nothing.
            """
    )

    @OptionGroup var place: ConfigOption
    @Option(help: "The data directory; MARTLET_DATA_DIR, else /var/lib/martlet.")
    var data: String?
    @Option(help: "The domain that mail is sent from, whose SPF record must let this machine send; else that of `me`.")
    var domain: String?
    @Option(help: "A server to try the ports of, in place of a large provider's; `none` tries none.")
    var probe = "aspmx.l.google.com"
    @Flag(help: "A JSON array, for programs.")
    var json = false

    func run() throws {
        let (environment, problems) = ProcessSettings.environment()
        let directory = place.directory(environment)
        var findings: [Finding] = []
        var store: SettingsStore?
        do throws(ConfigErrors) {
            if let problems { throw problems }
            store = try ProcessSettings.read(directory, environment)
        } catch {
            findings += error.errors.map {
                Finding(.bad, "configuration", "\($0)", "Mend that line; `martlet check` reads all files again.")
            }
        }
        if let store {
            let patient = Patient(
                settings: store.current,
                dataPath: data ?? environment.program["DATA_DIR"] ?? "/var/lib/martlet",
                configPath: directory,
                sender: domain ?? Self.parent(store.current.me.name),
                probe: probe
            )
            findings += Doctor.configuration(store, directory)
            findings += try MultiThreadedEventLoopGroup.singleton.next()
                .makeFutureWithTask { await Doctor.examine(patient) }.wait()
        }
        print(json ? JSON.array(findings.map(\.object)).text : findings.map(\.text).joined(separator: "\n"))
        if findings.contains(where: { $0.state == .bad }) { throw ExitCode(1) }
    }

    /// `example.net` of `out1.example.net`.
    private static func parent(_ name: String) -> String {
        let labels = name.split(separator: ".")
        return labels.count > 2 ? labels.dropFirst().joined(separator: ".") : name
    }
}

/// What is examined.
struct Patient: Sendable {
    let settings: Settings
    let dataPath: String
    let configPath: String
    /// The domain that mail is sent from.
    let sender: String
    /// The host whose ports are tried.
    let probe: String
}

/// What an examination came to.
struct Finding: Sendable {
    enum State: String, Sendable {
        case good, bad
        /// Works, and is probably not what is wanted.
        case odd
        /// Could not be examined.
        case skipped
    }

    let state: State
    let name: String
    let detail: String
    /// What to do; empty when there is nothing.
    let remedy: String

    init(_ state: State, _ name: String, _ detail: String, _ remedy: String = "") {
        self.state = state
        self.name = name
        self.detail = detail
        self.remedy = remedy
    }

    var text: String {
        let mark = [State.good: "✔", .bad: "✘", .odd: "!", .skipped: "-"][state] ?? "?"
        let first = "\(mark) \(name): \(Printout.clean(detail))"
        return remedy.isEmpty || state == .good ? first : "\(first)\n    → \(Printout.clean(remedy))"
    }

    var object: JSON {
        [
            "check": .string(name), "state": .string(state.rawValue), "detail": .string(detail),
            "fix": state == .good || remedy.isEmpty ? .null : .string(remedy),
        ]
    }
}

/// The examinations.
enum Doctor {
    /// All of them but the configuration, which comes first.
    static func examine(_ patient: Patient) async -> [Finding] {
        var findings = relaying(patient) + spool(patient) + certificate(patient) + clock()
        let resolver: UnboundResolver
        do throws(DNSError) {
            resolver = try UnboundResolver(UnboundResolver.Options(patient.settings.resolver))
        } catch {
            return findings + [
                Finding(.bad, "resolver", "\(error)", "See forward and trust_anchor_file in resolver.ini.")
            ]
        }
        findings += await names(patient, resolver)
        findings += await network(patient, resolver)
        findings += await smartHosts(patient, resolver)
        return findings
    }

    /// The files were read: what looks odd, and what the environment decides.
    static func configuration(_ store: SettingsStore, _ directory: String) -> [Finding] {
        let odd = store.warnings.map { Finding(.odd, "configuration", "\($0)", "See the comment beside that key.") }
        let pins = Set(store.environment.pins.map(\.variable)).sorted()
        let pinned = pins.isEmpty ? "" : "; \(pins.joined(separator: ", ")) win over it"
        let good = Finding(.good, "configuration", "\(directory) is valid\(pinned)")
        return [good] + odd
    }
}
