// AdminAPI.swift — the API as the wiring holds it: made from what the relay has, started late, stopped last.

import Admin
import Config
import CoreMetrics
import Delivery
import Departure
import Files
import History
import Hooks
import Intake
import Log
import Loop
import Mail
import NIOCore
import NIOPosix
import OpenSSL
import Process
import Queue
import Storage

/// The API between the engine and its listeners.
final class AdminAPI: Sendable {
    /// Largest PEM file.
    private static let largestPEM = 1 << 20

    private struct State: Sendable {
        var server: AdminServer?
        var isDraining = false
    }

    private let desk: AdminDesk
    private let settings: SettingsStore
    private let log: LogSink
    private let dataPath: String
    private let state = InForce(State())

    init(
        _ launch: Launch,
        intake: Intake,
        guide: Guide,
        past: Past,
        post: EventPost,
        loop: any EventLoop,
        cluster: (any Cluster)?
    ) {
        settings = launch.settings
        log = launch.log
        dataPath = launch.dataPath
        let (settings, state, queue) = (settings, state, intake.queue)
        let services = AdminServices(
            queue: queue,
            settings: settings,
            log: launch.log,
            loop: loop,
            version: Version.text,
            startedAt: .now(),
            submit: Self.submission(to: intake, on: loop),
            guide: guide,
            history: { past.book },
            metrics: launch.metrics,
            checks: {
                Self.checks(queue, settings, guide.refusals.count, isDraining: state.current.isDraining)
                    + MilterHealth.checks(intake.filters)
            },
            webhooks: post,
            feed: { post.feed },
            cluster: cluster,
            suppressions: intake.suppressions,
            gate: intake.gate,
            arrivals: Arrivals(path: "\(launch.dataPath)/arrivals", disk: LinuxDisk(), now: .now()),
            obstacle: Self.obstacle(hasSockets: launch.sockets != nil)
        )
        let desk = AdminDesk(
            services: services,
            guardian: TokenGuard(settings: { settings.current.admin }, sessions: services.sessions),
            keys: IdempotencyKeys(
                path: "\(launch.dataPath)/idempotency",
                disk: LinuxDisk(),
                log: launch.log,
                now: .now()
            )
        )
        self.desk = desk
        cluster?.serve(Self.errands(desk))
        if let cluster { Self.tellConfig(cluster, settings, queue.disk) }
    }

    /// Has the other nodes know how this one is set, now and whenever that changes.
    private static func tellConfig(_ cluster: any Cluster, _ settings: SettingsStore, _ disk: NIOThreadPool) {
        let tell: @Sendable () -> Void = {
            disk.submit { [weak settings] _ in
                if let marks = try? settings?.marks() { cluster.tell(config: marks.text) }
            }
        }
        settings.onChange { _ in tell() }
        tell()
    }

    /// Answers other nodes on a few threads of their own: a question may wait for the disk, or for further nodes.
    private static func errands(_ desk: AdminDesk) -> ErrandDesk {
        let threads = NIOThreadPool(numberOfThreads: 4)
        threads.start()
        return { question, done in threads.submit { _ in done(desk.answer(errand: question)) } }
    }

    /// How mail of a caller is handed in.
    private static func submission(
        to intake: Intake,
        on loop: any EventLoop
    ) -> AdminServices.Submit {
        { envelope, content, time, id, caller in
            let now = Timestamp.now()
            let hold = time.map { Hold(since: now, until: $0, reason: "send_at") }
            let submission = Submission(
                envelope,
                content,
                from: Provenance(.api, caller: Self.account(caller)),
                id: id,
                at: now,
                hold: hold
            )
            switch await intake.submit(submission, on: loop) {
            case .queued(let id, let others): return .success([id] + others)
            case .taken(let id): return .success([id])
            case .refused(let refusal):
                return .failure(SubmitRefusal(refusal.reply, isLimit: refusal.isLimit, waits: refusal.waits))
            }
        }
    }

    /// What mail of a caller is counted as.
    private static func account(_ caller: Caller) -> Provenance.Caller {
        Provenance.Caller(CredentialEndpoints.login(ofToken: caller.name), from: caller.address)
    }

    /// Why nobody could listen at an address now.
    ///
    /// - Parameter hasSockets: those of systemd or of root are used, and a change counts from the next start: nobody can tell now.
    private static func obstacle(hasSockets: Bool) -> @Sendable (ListenAddress, Bool) -> String? {
        if hasSockets { return { _, _ in nil } }
        return { address, isV6Only in
            let octets = Array(address.ip.bytes)
            return HeldSockets.obstacle(at: SocketPlace(octets: octets, port: address.port, isV6Only: isV6Only))
        }
    }

    /// Where it listens.
    var addresses: [String] { state.current.server?.addresses ?? [] }

    /// The same as values, for the tools of this machine.
    var tcp: [ListenAddress] { state.current.server?.tcp ?? [] }
    var socket: String? { state.current.server?.socket }

    /// - Throws: when it cannot listen where it should.
    func start() throws {
        let admin = settings.current.admin
        let disk = LinuxDisk()
        let tls = try Self.certificate(admin)
        let server = try AdminServer(
            admin,
            desk: desk,
            data: dataPath,
            disk: disk,
            tls: tls,
            observe: AdminServer.Observer(Self.count)
        )
        for complaint in server.complaints {
            log.write(.warning, "the API does not listen everywhere") { $0.add(.reason, complaint) }
        }
        CertificateMetrics.show(api: tls?.certificate)
        state.change { $0.server = server }
    }

    /// The certificate and the key that `admin.ini` names; nil when it names none.
    ///
    /// - Throws: when they cannot be read, or do not fit together.
    static func certificate(
        _ admin: AdminSettings
    ) throws(ConfigErrors) -> (certificate: [UInt8], key: [UInt8])? {
        guard let certificate = admin.certificate, let key = admin.key else { return nil }
        func contents(_ path: String) throws(ConfigErrors) -> [UInt8] {
            do throws(DiskError) {
                return try LinuxDisk().contents(of: path, limit: largestPEM)
            } catch {
                throw ConfigErrors([ConfigError(file: AdminSettings.file, reason: "\(error)")])
            }
        }
        let pair = (certificate: try contents(certificate), key: try contents(key))
        do throws(TLSError) {
            let both = CertificatePair(certificates: pair.certificate, key: pair.key)
            _ = try TLSContext(server: TLSContext.Server(certificate: both))
        } catch {
            throw ConfigErrors([ConfigError(file: AdminSettings.file, reason: "certificate and key: \(error.reason)")])
        }
        return pair
    }

    /// Once a second.
    func tick() {
        state.current.server?.sweep(at: .now())
        let services = desk.services
        guard settings.current.admin.hasPage, services.overview.claimsMinute(at: .now()) else { return }
        services.queue.disk.submit { _ in services.overview.keepMinute() }
    }

    /// The relay is stopping: `/readyz` says so.
    func drain() { state.change { $0.isDraining = true } }

    func stop() { state.current.server?.stop() }

    /// Makes a series for each operation, so that it is there from the start, at zero.
    static func declareMetrics() {
        for endpoint in Endpoints.all {
            requests(endpoint.path, endpoint.method.rawValue, 200).increment(by: 0)
            _ = duration(endpoint.path)
        }
    }

    /// Paths as the contract has them, by operation.
    private static let paths = Dictionary(uniqueKeysWithValues: Endpoints.all.map { ($0.operation, $0.path) })

    private static func requests(_ path: String, _ method: String, _ status: Int) -> Counter {
        Counter(
            label: "martlet_http_requests_total",
            dimensions: [("route", path), ("method", method), ("status", "\(status)")]
        )
    }

    private static func duration(_ path: String) -> Timer {
        Timer(label: "martlet_http_request_seconds", dimensions: [("route", path)])
    }

    private static func count(_ seen: AdminServer.Observation) {
        let path = paths[seen.operation] ?? "none"
        // Labels are a closed set: a client may send any word as its method.
        let method = HTTPMethod(rawValue: seen.method)?.rawValue ?? (seen.method == "HEAD" ? "HEAD" : "other")
        requests(path, method, seen.status).increment()
        duration(path).recordMilliseconds(seen.milliseconds)
    }

    private static func checks(
        _ queue: MailQueue,
        _ settings: SettingsStore,
        _ refusals: Int,
        isDraining: Bool
    ) -> [ReadinessCheck] {
        let (size, isDisabled) = settings.inForce.ask { ($0.listener.messageBytes, $0.outbound.isDisabled) }
        let broken = settings.health.ask { $0.places }
        let files = broken.prefix(10).joined(separator: ", ")
        return [
            ReadinessCheck(
                "running",
                isDraining || queue.isClosed ? .failed : .good,
                isDraining
                    ? "the relay is stopping"
                    : queue.isClosed ? "the relay is being emptied (martlet drain) and takes no mail" : "taking mail"
            ),
            ReadinessCheck(
                "spool_writable",
                queue.hasRoom(for: size) && queue.trouble == nil ? .good : .failed,
                queue.trouble == nil
                    ? "room for a message of \(size) bytes"
                    : "the database does not answer: see that it runs and that storage.ini names it rightly (martlet doctor tries it)"
            ),
            ReadinessCheck(
                "queue_known",
                .note,
                queue.recovery.map { "\($0)" } ?? "all mail"
            ),
            ReadinessCheck(
                "delivery_enabled",
                .note,
                isDisabled ? "delivery is switched off: martlet outbound enable switches it on" : "delivery is on"
            ),
            ReadinessCheck(
                "configuration",
                broken.isEmpty ? .good : .degraded,
                broken.isEmpty ? "every file is in force" : "broken, what was said before holds: \(files)"
            ),
            ReadinessCheck(
                "logins",
                refusals == 0 ? .good : .degraded,
                refusals == 0 ? "no next hop refuses ours" : "\(refusals) next hops refuse our login: their mail waits"
            ),
        ]
    }
}
