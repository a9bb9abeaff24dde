// Wiring.swift — builds the objects, connects them, and takes them apart in order. Read it from top to bottom.

import Admin
import Config
import DNS
import Delivery
import Departure
import Files
import Filters
import HTTPClient
import History
import Hooks
import Ingest
import Intake
import Log
import Logins
import Loop
import Mail
import NIOCore
import NIOPosix
import Operator
import Process
import Queue
import RemoteHooks
import Storage
import Suppression
import Synchronization
import Webhooks

// Not swift-service-lifecycle: it has its own signal handlers and its own order of stopping, while we block signals in
// every thread (PID 1 of a container has no default ones, a storm of SIGHUP melts) and stop doors before the queue.
/// The relay: everything that lives from `ready` to the last line of the log.
final class Wiring: Sendable {
    /// Milliseconds for sessions of both doors to end by themselves; with what comes behind them, an exit takes less than
    /// the 10 s that container engines grant before they kill.
    private static let patience: Int64 = 7_000
    /// Threads for blocking calls: reading messages back, large bodies, copying records out of old segments.
    private static let diskThreads = 4
    /// Threads for HTTP: policies of MTA-STS, access tokens.
    private static let webThreads = 48
    /// Threads that wait for hook programs; made when the first one is asked.
    private static let hookThreads = 32

    private let dataPath: String
    private let sockets: HeldSockets?
    /// What the tools were told last.
    private let noted = Mutex<RunningRelay?>(nil)
    /// What the last change was applied to.
    private let applied: InForce<Settings>
    /// The last change of the listening addresses.
    private let moving = Mutex<Task<Void, Never>?>(nil)
    let settings: SettingsStore
    let log: LogSink
    private let loops: MultiThreadedEventLoopGroup
    private let disk: NIOThreadPool
    private let web: NIOThreadPool
    private let upkeep: Upkeep
    private let memory: PeerMemory
    let queue: MailQueue
    private let past: Past
    private let plugins: PluginChain
    private let programs: HookPrograms
    let services: PluginServices
    /// Replaced when `resolver.ini` changes.
    private let resolver: InForce<any DNS.Resolver>
    private let router: Router
    private let dispatcher: Dispatcher
    private let trust: TrustFinder
    /// What the files said when they were last read.
    private let prints = InForce(ConfigPrints())
    private let certificates: CertificatesInForce
    private let listener: Listener
    private let guide: Guide
    private let post: EventPost
    private let suppressions: SuppressionList?
    private let filters: FilterChain
    private let feed = InForce<SuppressionFeed?>(nil)
    private let api: AdminAPI
    private let pickup: Pickup
    let sources: LoginSources
    let expiry = ExpiryWatch()

    /// Runs the relay until it is told to stop; returns when everything is drained.
    ///
    /// - Throws: what keeps the relay from starting.
    static func run(_ launch: Launch) throws {
        let wiring = try Wiring(launch)
        try wiring.start()
        let stop = launch.signals.wait(hangUp: wiring.hangUp, everySecond: { wiring.tick(launch.title, launch.heap) })
        launch.log.write(.notice, "stopping") { $0.add(.reason, stop.rawValue) }
        wiring.stop()
    }

    private init(_ launch: Launch) throws {
        (dataPath, sockets) = (launch.dataPath, launch.sockets)
        applied = InForce(launch.settings.current)
        (settings, log) = (launch.settings, launch.log)
        let (settings, log) = (settings, log)
        let (first, inForce) = (settings.current, settings.inForce)
        loops = MultiThreadedEventLoopGroup(numberOfThreads: Self.threads(first.listener))
        disk = NIOThreadPool(numberOfThreads: Self.diskThreads)
        disk.start()

        let store = Self.store(launch)
        past = Past(launch, store)
        queue = MailQueue(
            store: store,
            disk: disk,
            memory: MemoryBudget(limit: first.listener.memoryForMail),
            options: MailQueue.Options(first),
            keepsHistory: first.events.isOn,
            limits: LimitFiles(in: launch.dataPath, LinuxDisk())
        ) { recipient, envelope in LaneRules(settings.inForce.latest).lane(for: recipient, of: envelope) }

        resolver = InForce<any DNS.Resolver>(try UnboundResolver(UnboundResolver.Options(first.resolver)))
        router = Router(resolver: resolver, settings: inForce, adopted: sockets?.addresses)
        let loop = loops.next()
        plugins = PluginChain([], log: log, deadline: { .seconds(settings.current.hooks.timeout) })
        programs = HookPrograms(threads: .ofTheirOwn(Self.hookThreads), log: log)
        try ProcessSettings.makeDataDirectory(launch.dataPath)
        suppressions = Self.suppressions(launch)
        filters = FilterChain(log: log)
        let intake = Self.intake(launch, queue, plugins, suppressions, filters)
        services = PluginServices(intake: intake, loop: loop)
        let settler = Self.settler(intake, loop)
        web = NIOThreadPool(numberOfThreads: Self.webThreads)
        web.start()
        let fetch = WebFetch(HTTPClient(), on: web, count: Self.webThreads, resolver: resolver)
        upkeep = Upkeep(fetch, launch, intake, resolver, loop)
        memory = PeerMemory(directory: launch.dataPath, disk: LinuxDisk())
        let access = upkeep.tokens.source
        trust = Self.trust(launch, resolver, fetch, upkeep, memory)
        dispatcher = Dispatcher(
            Dispatcher.Parts(
                loop: loop,
                queue: queue,
                router: router,
                trust: trust,
                settler: settler,
                settings: inForce,
                log: log,
                office: Self.postOffice(access, resolver)
            )
        )
        guide = Guide(router, trust, plugins, queue)
        pickup = Self.pickup(launch, settler, loop)
        post = EventPost(resolver: resolver, loop: loop, log: log)
        let cluster = store as? any Cluster
        api = AdminAPI(launch, intake: intake, guide: guide, past: past, post: post, loop: loop, cluster: cluster)
        (certificates, sources) = (try CertificatesInForce(first.tls), Self.sources(launch))
        listener = Listener(door: Self.door(intake, sources, certificates), group: loops)
    }

}

// MARK: - Start and stop

extension Wiring {
    private func start() throws {
        nameKinds()
        followSettings()
        followSwitch()
        try ProcessSettings.makeDataDirectory(dataPath)
        memory.load(at: .now())
        queue.recall(memory.answering(at: .now()))
        try wait { [plugins, services] in await plugins.start(Plugins.compiledIn, services) }
        _ = usePlugins(settings.current)
        filters.use(settings.current.milters)
        Upkeep.declareMetrics()
        IntakeMetrics.declare()
        prepareGate(settings.current)
        IngestMetrics.declare()
        CertificateMetrics.declare(settings.current.tls)
        DeliveryMetrics.declare()
        QueueMetrics.declare()
        DNSMetrics.declare()
        HookMetrics.declare()
        FilterMetrics.declare()
        AdminAPI.declareMetrics()
        WebhookMetrics.declare()
        ConfigMetrics.show(settings.health.current)
        queue.apply(settings.current.limits, settings.current.outboundIPs.pools)
        let begin = Uptime.now()
        _ = try queue.open(at: begin, wall: .now())
        past.start()
        post.start(past.book, settings.current.events, data: dataPath)
        if let list = suppressions, let book = past.book {
            let feed = SuppressionFeed(list, book, epoch: book.epoch, log: log)
            feed.start { [settings] in settings.current.suppressions.isFed ? settings.current.suppressions.days : nil }
            self.feed.replace(with: feed)
        }
        let addresses = try wait { try await self.listen() }
        try api.start()
        pickup.prepare(isOpen: settings.current.listener.drop)
        leaveNote()
        dispatcher.start()
        testValidation()
        queue.recoverBehind { [log] count in
            log.write(.notice, "queue recovered") {
                $0.add(.count, count)
                $0.add(.elapsed, Int(Uptime.now().milliseconds - begin.milliseconds))
            }
        }
        ServiceNotice.ready.send()
        log.write(.notice, "ready") { line in
            line.add(.listen, addresses.joined(separator: ", "))
            line.add(.api, api.addresses.joined(separator: ", "))
            line.add(.version, Version.text)
        }
    }

    private func followSettings() {
        settings.onChange { [weak self] in self?.apply($0) }
        prints.change { $0 = settings.prints() }
        settings.onEdit { [log, settings, prints, queue] edit in
            prints.change { $0.note(edit, in: settings) }
            EditLog.write(edit, to: log)
            if edit.isChanged { queue.tell(CommandFact(edit)) }
            ConfigMetrics.show(settings.health.current)
        }
    }

    /// Opens every address of `smtp.ini`, or the sockets that are there already.
    private func listen() async throws -> [String] {
        if let sockets {
            for held in sockets.held {
                try await listener.start(adopting: held.descriptor, held.isTLS ? .implicitTLS : .plain)
            }
            return sockets.held.compactMap(Listener.Place.init).map(\.description)
        }
        var addresses: [String] = []
        for place in settings.current.listener.places {
            do throws(Listener.NotBound) {
                addresses.append("\(try await listener.start(place))")
            } catch {
                throw StartError.cannotListen("\(place)", error.reason)
            }
        }
        return addresses
    }

    /// Says to the tools where we are; they make do with the configuration when it cannot be written.
    private func leaveNote() {
        let settings = settings.current
        let places =
            (sockets.map { $0.held.compactMap(Listener.Place.init) } ?? listener.places)
            .sorted { "\($0)" < "\($1)" }
        var note = RunningRelay(name: settings.me)
        note.smtp = places.filter { $0.kind == .plain }.map(\.address)
        note.smtps = places.filter { $0.kind == .implicitTLS }.map(\.address)
        (note.api, note.socket) = (api.tcp, api.socket)
        note.apiHasTLS = settings.admin.certificate != nil
        noted.withLock { noted in
            guard noted != note else { return }
            do throws(DiskError) {
                try note.leave(in: dataPath, LinuxDisk())
                noted = note
            } catch {
                log.write(.warning, "the tools are not told where the relay listens") { $0.add(.error, "\(error)") }
            }
        }
    }

    /// `listen` changed: the new addresses are opened, those that are gone are closed, one change after another.
    private func listenElsewhere() {
        guard sockets == nil else {
            return log.write(.warning, "listening addresses change at the next start") {
                $0.add(.reason, "the sockets were bound before root was given up, or by systemd")
            }
        }
        moving.withLock { moving in
            moving = Task { [moving, listener, settings, log, weak self] in
                await moving?.value
                let places = settings.current.listener.places
                let troubles = await listener.move(to: places)
                for trouble in troubles {
                    log.write(.error, "cannot listen, the old addresses stay") { line in
                        line.add(.listen, "\(trouble.place)")
                        line.add(.reason, trouble.reason)
                    }
                }
                self?.leaveNote()
                guard troubles.isEmpty else { return }
                log.write(.notice, "listening") { $0.add(.listen, places.map { "\($0)" }.joined(separator: ", ")) }
            }
        }
    }

    /// What was learnt of peers; without it it is learnt again.
    private func saveMemory() {
        do throws(DiskError) {
            try memory.save(at: .now())
        } catch {
            log.write(.warning, "what was learnt of next hops is not on disk") { $0.add(.error, "\(error)") }
        }
    }

    /// Doors first, then the queue, then what they stand on.
    private func stop() {
        ServiceNotice.stopping.send()
        pickup.stop()
        api.drain()
        try? wait {
            async let incoming: Void = self.listener.stop(patience: Int(Self.patience / 1000))
            async let outgoing: Void = self.dispatcher.drain(within: Self.patience)
            self.feed.current?.stop()
            async let events: Void = self.post.stop()
            _ = await (incoming, outgoing, events)
        }
        let counts = queue.counts
        saveMemory()
        upkeep.stop(at: .now())
        queue.keepLimits()
        gate.tick(isLast: true)
        RunningRelay.remove(from: dataPath, LinuxDisk())
        api.stop()
        past.stop()
        queue.close()
        log.write(.notice, "stopped") { line in
            line.add(.waiting, counts.waiting)
            line.add(.tempFailed, counts.tempFailed)
        }
        log.close()
    }

    /// Runs asynchronous work from the main thread, which is nobody's executor and has nothing else to do.
    private func wait<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) throws -> Value {
        try loops.next().makeFutureWithTask(body).wait()
    }
}

// MARK: - While it runs

extension Wiring {
    /// SIGHUP: the configuration is read again, and everything that failed for now is due.
    private func hangUp() {
        report(settings.reload(now: .now()))
        guide.forget()
        let count = queue.flush(nil, at: .now())
        log.write(.notice, "queue flushed") { $0.add(.count, count) }
    }

    /// Once a second, on the main thread.
    private func tick(_ title: ProcessTitle, _ heap: HeapCare) -> Bool {
        report(settings.reloadIfChanged(now: .now()))
        api.tick()
        post.tick()
        upkeep.tick(at: .now())
        certificates.renewTickets(now: .now())
        tellExpiring()
        disk.submit { [queue, gate] _ in
            queue.releaseDue()
            queue.keepLimits()
            gate.tick()
        }
        if memory.wantsSaving(at: .now()) { disk.submit { [weak self] _ in self?.saveMemory() } }
        heap.look(queue.events)
        pickup.look(noted.withLock { $0 }, settings.current.listener, at: .now())
        let counts = queue.counts
        title.show(inProgress: counts.inProgress, waiting: counts.waiting, tempFailed: counts.tempFailed)
        let verb = settings.current.outbound.isDisabled ? "Delivery disabled" : "Delivering"
        let numbers =
            "\(counts.inProgress) in progress, \(counts.waiting) waiting, \(counts.tempFailed) temporarily failed"
        let places = settings.health.ask { $0.places }.prefix(3).map { "; \($0) is broken" }.joined()
        ServiceNotice.alive(status: "\(verb): \(numbers)\(places)").send()
        return true
    }

    /// Queued mail takes the way that new mail would take.
    ///
    /// - Parameter everything: plugins are asked now and were not before, or the reverse.
    private func reroute(from before: Settings, to settings: Settings, everything: Bool) {
        let concernsAll = everything || before.outboundIPs != settings.outboundIPs
        guard concernsAll || before.routes != settings.routes else { return }
        if before.routes != settings.routes { dispatcher.routesChanged() }
        let changes = RouteChanges(from: before.routes, to: settings.routes)
        disk.submit { [queue, log] _ in
            let moved = queue.reroute(
                { concernsAll || changes.mayMove($0.hop) },
                counting: { changes.leadsElsewhere($0.hop) }
            )
            if moved > 0 { log.write(.notice, "queued mail takes another way") { $0.add(.count, moved) } }
            guard changes.hasNewLogins else { return }
            let freed = queue.retry(after: .auth) { changes.hasNewLogin($0.hop) }
            if freed > 0 { log.write(.notice, "mail that waited for a login goes on") { $0.add(.count, freed) } }
        }
    }

    private func report(_ reload: SettingsStore.Reload) {
        guard !reload.isEmpty else { return }
        ConfigMetrics.show(settings.health.current)
        for error in reload.broken {
            Serve.log(error, .error, "configuration is invalid, the last good one stays", to: log)
        }
        for part in reload.mended {
            log.write(.notice, "configuration file is in order again") { $0.add(.file, part.file) }
        }
        for warning in reload.warnings { Serve.log(warning, .warning, "configuration looks odd", to: log) }
        if reload.isChanged { tellChanges() }
    }

    /// What changed, by file and key.
    private func tellChanges() {
        let new = settings.prints()
        let changes = prints.replace(with: new).changes(to: new)
        // A file that one of ours names, such as a certificate or a password.
        if changes.isEmpty { log.write(.notice, "configuration changed") }
        for change in changes {
            queue.tell(CommandFact(changed: change.file, change.keys))
            log.write(.notice, "configuration changed") { line in
                line.add(.file, change.file)
                let more = change.keys.count > 10 ? " and \(change.keys.count - 10) more" : ""
                if !change.keys.isEmpty { line.add(.key, change.keys.prefix(10).joined(separator: ", ") + more) }
            }
        }
    }

    /// New settings are in force: those who keep a part of them hear of it.
    private func apply(_ settings: Settings) {
        queue.memory.setLimit(settings.listener.memoryForMail)
        queue.apply(MailQueue.Options(settings))
        queue.apply(settings.limits, settings.outboundIPs.pools)
        gate.apply(settings.limits.entries)
        sources.apply(settings)
        certificates.apply(settings.tls, log)
        trust.forgetRefusals(except: settings.routes)
        let before = applied.replace(with: settings)
        for fact in CommandFact.changes(from: before, to: settings) { queue.tell(fact) }
        if before.me != settings.me { disk.submit { [weak self] _ in self?.leaveNote() } }
        if before.listener.places != settings.listener.places { listenElsewhere() }
        if before.events != settings.events { log.write(.notice, "history changes at the next start") { _ in } }
        if before.storage != settings.storage { log.write(.notice, "storage changes at the next start") { _ in } }
        if before.resolver != settings.resolver { resolveOtherwise(settings.resolver) }
        if before.events != settings.events { post.apply(settings.events) }
        if before.milters != settings.milters { filters.use(settings.milters) }
        let preparesOtherwise = before.hooks != settings.hooks && usePlugins(settings)
        reroute(from: before, to: settings, everything: preparesOtherwise)
    }

    private func resolveOtherwise(_ settings: ResolverSettings) {
        do throws(DNSError) {
            resolver.replace(with: try UnboundResolver(UnboundResolver.Options(settings)))
        } catch {
            return log.write(.error, "resolver cannot be replaced, the old one stays") { $0.add(.error, "\(error)") }
        }
        router.forget()
        testValidation()
    }

    /// Asks the plugins that the settings name from now on.
    ///
    /// - Returns: whether parcels are prepared from now on and were not before, or the reverse.
    private func usePlugins(_ settings: Settings) -> Bool {
        for warning in settings.hooks.unknownPlugins {
            Serve.log(warning, .warning, "configuration looks odd", to: log)
        }
        plugins.use(Plugins.named(settings.hooks.plugins) + programs.programs(of: settings.hooks))
        return queue.setPreparing(plugins.asks(.preparation))
    }
}

// MARK: - DNSSEC

extension Wiring {
    /// Says in the log whether answers can be validated: where they cannot, DANE protects nothing, or mail waits.
    private func testValidation() {
        let (resolver, zone, log) = (resolver.current, settings.current.resolver.anchoredZone, log)
        Task { await ValidationTest.run(resolver, zone, log) }
    }
}

/// Why the relay did not start.
private enum StartError: Error, CustomStringConvertible {
    case cannotListen(String, String)

    var description: String {
        switch self {
        case .cannotListen(let address, let reason):
            "cannot listen on \(address): \(reason) See [main] listen in smtp.ini."
        }
    }
}
