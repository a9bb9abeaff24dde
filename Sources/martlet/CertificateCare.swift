// CertificateCare.swift — the relay's certificate, renewed when a third of its life is left.
//
// Guarantees: one attempt at a time, on a thread of its own that exists while there is one; after a failure it waits longer each time;
// people are told once a day when the end comes near all the same. What it writes is taken up as any change of a file is.

import ACME
import Config
import History
import Log
import Mail
import Metrics
import NIOPosix
import Queue
import Synchronization

/// Looks after the certificate of a running relay.
final class CertificateCare: Sendable {
    /// Milliseconds between two looks.
    private static let pause: Int64 = 60_000
    private static let day: Int64 = 86_400_000

    private struct State {
        var next = Timestamp(milliseconds: 0)
        var isBusy = false
        var toldAt = Timestamp(milliseconds: 0)
    }

    private let settings: SettingsStore
    private let places: (config: String, data: String)
    private let queue: MailQueue
    private let log: LogSink
    private let state = Mutex(State())

    init(_ launch: Launch, _ queue: MailQueue) {
        (settings, log, self.queue) = (launch.settings, launch.log, queue)
        places = (launch.configPath, launch.dataPath)
    }

    /// Once a second, on the main thread.
    func tick(at now: Timestamp) {
        let settings = settings.current
        guard settings.tls.acme.directory != nil else { return }
        let isDue = state.withLock { state in
            guard now >= state.next, !state.isBusy else { return false }
            state.next = now.adding(milliseconds: Self.pause)
            state.isBusy = true
            return true
        }
        guard isDue else { return }
        let threads = NIOThreadPool(numberOfThreads: 1)
        threads.start()
        threads.submit { [self] _ in
            look(CertificateIssuer(settings, configPath: places.config, dataPath: places.data), at: now)
            state.withLock { $0.isBusy = false }
            threads.shutdownGracefully { _ in }
        }
    }

    private func look(_ issuer: CertificateIssuer, at now: Timestamp) {
        let current = issuer.current
        issuer.learn(at: now)
        guard wantsCertificate(issuer.state, current, for: issuer.names, at: Int(now.milliseconds / 1000)) else {
            return
        }
        log.write(.notice, "a certificate is asked for") { $0.add(.domain, issuer.names.joined(separator: ", ")) }
        do throws(ACMEError) {
            try issuer.issue(at: now)
            log.write(.notice, "a certificate has come") { $0.add(.domain, issuer.names.joined(separator: ", ")) }
        } catch {
            ACMEMetrics.failed()
            log.write(.error, "no certificate has come") { line in
                line.add(.reason, error.reason)
                line.add(.delay, seconds: Int64(issuer.state.next) * 1000 - now.milliseconds)
            }
            if let current { tell(current.life, error, at: now) }
        }
    }

    /// Its end comes near, and nothing renews it.
    private func tell(_ life: CertificateLife, _ error: ACMEError, at now: Timestamp) {
        guard life.isExpiring(at: Int(now.milliseconds / 1000)) else { return }
        let isNew = state.withLock { state in
            guard now.milliseconds(since: state.toldAt) >= Self.day else { return false }
            state.toldAt = now
            return true
        }
        guard isNew else { return }
        var fact = CommandFact(.certificateExpiring, at: now)
        fact.text = error.reason
        fact.until = Timestamp(milliseconds: Int64(life.end) * 1000)
        queue.tell(fact)
    }
}

/// The name is spelled here and nowhere else.
enum ACMEMetrics {
    private static let failures = Counter(label: "martlet_acme_failures_total")

    /// Makes the series, so that it is there from the start.
    static func declare() { failures.increment(by: 0) }

    /// An attempt brought no certificate.
    static func failed() { failures.increment() }
}
