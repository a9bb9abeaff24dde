// DoctorCommand.swift — `martlet doctor`: reads the configuration, has it examined, and prints what was found.

import ArgumentParser
import Config
import DNS
import Delivery
import Departure
import Doctor
import HTTPClient
import JSON
import Loop
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
        let (environment, problems) = Environment.ofThisProcess()
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
                .makeFutureWithTask { await Self.examine(patient) }.wait()
        }
        print(json ? JSON.array(findings.map(\.object)).text : findings.map(\.text).joined(separator: "\n"))
        if findings.contains(where: { $0.state == .bad }) { throw ExitCode(1) }
    }

    /// With a resolver as the relay would have it, and visits as its deliveries would go.
    private static func examine(_ patient: Patient) async -> [Finding] {
        let resolver: UnboundResolver
        do throws(DNSError) {
            resolver = try UnboundResolver(UnboundResolver.Options(patient.settings.resolver))
        } catch {
            return await Doctor.examine(patient, .failure(error)) { _ in nil }
        }
        let threads = NIOThreadPool(numberOfThreads: 1)
        threads.start()
        defer { threads.shutdownGracefully { _ in } }
        let settings = InForce(patient.settings)
        let current = InForce<any DNS.Resolver>(resolver)
        // Tokens that are replaced meanwhile are kept where the relay keeps its own, and finds them.
        let fetch = WebFetch(HTTPClient(), on: threads)
        let tokens = TokenSource(
            fetch,
            store: TokenStore(directory: "\(patient.dataPath)/oauth")
        )
        let visit = Visit(
            loop: MultiThreadedEventLoopGroup.singleton.next(),
            disk: threads,
            router: Router(resolver: current, settings: settings),
            trust: TrustFinder(
                resolver: current,
                settings: settings,
                tokens: tokens
            ),
            settings: patient.settings,
            office: PostOffice(fetch, tokens: tokens)
        )
        let findings = await Doctor.examine(patient, .success(resolver)) { mx in
            do throws(Failure) { return .success(try await visit(to: mx)) } catch { return .failure(error) }
        }
        return findings + Doctor.tokens(patient, tokens, at: .now())
    }

    /// `example.net` of `out1.example.net`.
    private static func parent(_ name: String) -> String {
        let labels = name.split(octet: ".")
        return labels.count > 2 ? labels.dropFirst().joined(separator: ".") : name
    }
}

extension Finding {
    /// For people: what was found, and what to do about it below.
    fileprivate var text: String {
        let mark =
            switch state {
            case .good: "✔"
            case .bad: "✘"
            case .odd: "!"
            case .skipped: "-"
            }
        let first = "\(mark) \(name): \(Printout.clean(detail))"
        return needsRemedy ? "\(first)\n    → \(Printout.clean(remedy))" : first
    }

    /// For programs.
    fileprivate var object: JSON {
        [
            "check": .string(name), "state": .string(state.rawValue), "detail": .string(detail),
            "fix": needsRemedy ? .string(remedy) : .null,
        ]
    }
}
