// House.swift — the delivery door with everything around it, on a queue without a disk.

import Config
import DNS
import Departure
import Glibc
import Hooks
import Intake
import Log
import Loop
import Mail
import NIOCore
import NIOPosix
import Storage
import Synchronization
import TestSupport

@testable import Delivery
@testable import Queue

/// A store that commits at once, on a thread of its own, and can be waited for.
final class WatchedStore: QueueStore {
    private struct Waiter {
        let test: @Sendable ([MemoryStore.Record]) -> Bool
        let done: CheckedContinuation<Void, Never>
    }

    let inner: MemoryStore
    private let pool: NIOThreadPool
    private let waiters = Mutex<[Waiter]>([])
    private let failing = Atomic<Bool>(false)

    init(_ pool: NIOThreadPool, _ inner: MemoryStore = MemoryStore()) {
        self.pool = pool
        self.inner = inner
    }

    /// From now on nothing can be stored.
    func fail() { failing.store(true, ordering: .relaxed) }

    var records: [MemoryStore.Record] { inner.records }

    /// Returns when the records satisfy a test.
    func wait(until test: @escaping @Sendable ([MemoryStore.Record]) -> Bool) async {
        await withCheckedContinuation { done in
            waiters.withLock { $0.append(Waiter(test: test, done: done)) }
            look()
        }
    }

    private func look() {
        let records = inner.records
        let ready = waiters.withLock { waiters in
            let ready = waiters.filter { $0.test(records) }
            waiters.removeAll { $0.test(records) }
            return ready
        }
        for waiter in ready { waiter.done.resume() }
    }

    func append(_ message: NewMessage) {
        inner.append(message)
        pool.submit { _ in
            self.inner.commit(self.failing.load(ordering: .relaxed) ? .full("test") : nil)
            self.look()
        }
    }

    func append(_ state: DeliveryState, of id: QueueID, _ facts: Facts) {
        inner.append(state, of: id, facts)
        pool.submit { _ in self.look() }
    }

    func append(_ facts: Facts, of id: QueueID) { inner.append(facts, of: id) }

    func appendSettled(_ id: QueueID, at location: Location, _ facts: Facts) {
        inner.appendSettled(id, at: location, facts)
        pool.submit { _ in self.look() }
    }

    func recover(_ visit: (RecoveredMessage) -> Void) throws(QueueError) { try inner.recover(visit) }

    func start(committed: @escaping @Sendable ([CommitResult]) -> Void) throws(QueueError) {
        try inner.start(committed: committed)
    }

    func read(_ id: QueueID, at location: Location) throws(QueueError) -> NewMessage {
        try inner.read(id, at: location)
    }
    func readEnvelope(_ id: QueueID, at location: Location) throws(QueueError) -> Envelope {
        try inner.readEnvelope(id, at: location)
    }
    func makeLargeBody(_ id: QueueID) throws(QueueError) -> any LargeBody { try inner.makeLargeBody(id) }
    var wantsRoom: Bool { false }
    func isBeingEmptied(_ location: Location) -> Bool { false }
    func move(_ id: QueueID, from location: Location, _ state: DeliveryState) throws(QueueError) -> Location {
        location
    }
    func hasRoom(for bytes: Int) -> Bool { true }
    func close() {}
}

/// Everything between a queue and its next hops.
final class House: Sendable {
    let pool: NIOThreadPool
    let store: WatchedStore
    let queue: MailQueue
    let resolver = StaticResolver()
    let dispatcher: Dispatcher
    private let loop: any EventLoop
    private let log: LogSink
    private let output: Int32
    private let logFile: String

    /// - Parameters:
    ///   - routes: next hops by section name.
    ///   - plugins: asked in this order.
    ///   - change: settings that differ from the defaults.
    init(
        routes: [String: [MX]] = [:],
        store inner: MemoryStore = MemoryStore(),
        queueOptions: MailQueue.Options = MailQueue.Options(),
        plugins: [any Plugin] = [],
        change: (inout Settings) -> Void = { _ in }
    ) throws {
        var settings = Settings(me: Domain(unchecked: "relay.test"))
        for (match, hosts) in routes {
            // In the order written, as `routes.ini` has it.
            let inOrder = hosts.enumerated().map { index, host in
                var host = host
                if host.priority == 0 { host.priority = UInt16(index) }
                return host
            }
            settings.routes.add(Routes.Entry(match: match, way: .hosts(inOrder)))
        }
        change(&settings)
        let final = settings
        pool = NIOThreadPool(numberOfThreads: 2)
        pool.start()
        store = WatchedStore(pool, inner)
        loop = MultiThreadedEventLoopGroup.singleton.next()
        let path = "/tmp/h-client-log-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        logFile = path
        output = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
        log = LogSink(descriptor: output, level: .debug)
        queue = MailQueue(
            store: store,
            disk: pool,
            memory: MemoryBudget(limit: 64 << 20),
            options: queueOptions
        ) { recipient, envelope in
            let route = final.routes.route(for: recipient, from: envelope.sender)
            return Lane(route.map { .route($0.match) } ?? .domain(recipient.domain), from: envelope.notes.source)
        }
        let chain = PluginChain(plugins, log: log, deadline: { .seconds(600) })
        _ = queue.setPreparing(chain.asks(.preparation))
        _ = try queue.recover(at: .now(), wall: .now())
        let resolver = InForce<any DNS.Resolver>(self.resolver)
        let inForce = InForce(final)
        dispatcher = Dispatcher(
            Dispatcher.Parts(
                loop: loop,
                queue: queue,
                router: Router(resolver: resolver, settings: inForce, ownAddresses: { [] }),
                trust: TrustFinder(resolver: resolver, settings: inForce),
                settler: Settler(Intake(queue: queue, plugins: chain, log: log, settings: inForce), loop: loop),
                settings: inForce,
                log: log
            )
        )
        dispatcher.start()
    }

    deinit {
        close(output)
        unlink(logFile)
    }

    /// Puts a message into the queue and returns its id once it is stored.
    @discardableResult
    func accept(
        from: String = "a@x.test",
        to: [String],
        body: String = "Subject: x\r\n\r\nhello\r\n",
        notify: Notify? = nil,
        acceptedAt: Timestamp = .now(),
        content: Content? = nil
    ) async throws -> QueueID {
        let sender = EmailAddress(from).map { ReversePath.address($0) } ?? .null
        let recipients = to.compactMap { EmailAddress($0) }.map { Recipient($0, notify: notify) }
        let content =
            content
            ?? Content(
                prologue: ByteBuffer(string: "Received: test\r\n"),
                body: .memory(ByteBuffer(string: body)),
                hasLeadingDots: true,
                isEightBit: false
            )
        let message = NewMessage(
            id: queue.makeID(at: .now()),
            acceptedAt: acceptedAt,
            envelope: Envelope(sender: sender, recipients: recipients),
            content: content
        )
        queue.memory.force(message.residentBytes)
        let stored = loop.makePromise(of: QueueError?.self)
        queue.accept(message, by: .smtp, on: loop) { stored.succeed($0) }
        if let error = try await stored.futureResult.get() { throw error }
        return message.id
    }

    /// Until the message is done with: the record is written, and the turn of the loop that wrote it has ended, log lines and all.
    func settled(_ id: QueueID) async {
        await store.wait { $0.contains(.settled(id)) }
        try? await loop.submit {}.get()
    }

    /// The state of a message after its first deferral.
    func deferred(_ id: QueueID) async -> DeliveryState? {
        await store.wait { records in records.contains { $0.isState(of: id) } }
        for case .state(id, let state) in store.records.reversed() { return state }
        return nil
    }

    /// The reports that were accepted, as text.
    var reports: [String] {
        store.records.compactMap { record in
            guard case .message(let id) = record,
                let message = try? store.inner.read(id, at: Location(number: 1)),
                message.envelope.sender == .null, case .memory(let bytes) = message.content.body
            else { return nil }
            let text = String(buffer: bytes)
            return text.contains("multipart/report") ? text : nil
        }
    }

    /// Every log line so far.
    var logLines: [String] {
        log.flush()
        return (try? TestFiles.text(logFile)).map { $0.split(separator: "\n").map(String.init) } ?? []
    }

    func stop() async { await dispatcher.drain(within: 2000) }
}

extension MemoryStore.Record {
    func isState(of id: QueueID) -> Bool { if case .state(id, _) = self { true } else { false } }
}
