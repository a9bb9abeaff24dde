// Upkeep.swift — what a running relay keeps alive without being asked: access to next hops, its certificate, and what domains
// are told of TLS.

import Config
import DNS
import Departure
import Files
import HTTPClient
import Intake
import Loop
import Mail
import NIOCore
import NIOPosix
import Queue
import TLSReports

/// Looked at once a second.
struct Upkeep: Sendable {
    let tokens: TokenCare
    /// How sessions with next hops were protected.
    let results = TLSResultBook()
    private let certificate: CertificateCare
    private let reporter: TLSReporter
    private let queue: MailQueue

    init(
        _ fetch: WebFetch,
        _ launch: Launch,
        _ intake: Intake,
        _ resolver: InForce<any DNS.Resolver>,
        _ loop: any EventLoop
    ) {
        queue = intake.queue
        (tokens, certificate) = (TokenCare(fetch, launch, queue), CertificateCare(launch, queue))
        reporter = TLSReporter(
            results,
            settings: launch.settings.inForce,
            resolver: resolver,
            fetch: fetch,
            submit: { envelope, text in
                let submission = Submission(envelope, ByteBuffer(string: text), from: Provenance(.inside))
                return switch await intake.submit(submission, on: loop) {
                case .queued, .taken: nil
                case .refused(let refusal): refusal.reply.description
                }
            },
            path: "\(launch.dataPath)/tls-results.json",
            disk: LinuxDisk(),
            log: launch.log
        )
        reporter.load()
    }

    /// Once a second, on the main thread.
    func tick(at now: Timestamp) {
        tokens.tick(at: now)
        certificate.tick(at: now)
        queue.disk.submit { [reporter] _ in reporter.tick(at: now) }
    }

    /// Writes what is to outlive the process.
    ///
    /// Blocks.
    func stop(at now: Timestamp) { reporter.save(at: now) }

    /// Makes every series, so that each is there from the start.
    static func declareMetrics() {
        TokenMetrics.declare()
        ACMEMetrics.declare()
        TLSReporter.declareMetrics()
    }
}
