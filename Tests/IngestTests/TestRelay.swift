// TestRelay.swift — a listener on loopback with a queue behind it, for one test.

import Config
import Glibc
import Hooks
import Ingest
import Intake
import Log
import Loop
import Mail
import NIOCore
import NIOPosix
import Queue
import TestSupport

/// Everything that reception needs, real but for the disk.
final class TestRelay: Sendable {
    /// Shared by all tests: loops are dear, and tests are many.
    static let loops = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    private static let disk: NIOThreadPool = {
        let pool = NIOThreadPool(numberOfThreads: 2)
        pool.start()
        return pool
    }()
    private static let writer: NIOThreadPool = {
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        return pool
    }()
    static let log = LogSink(level: .critical)

    let store: ReceivingStore
    let queue: MailQueue
    let intake: Intake
    let listener: Listener
    let port: UInt16
    private let settings: InForce<Settings>

    init(
        memory: Int = 64 << 20,
        plugins: [any Plugin] = [],
        log: LogSink = TestRelay.log,
        _ change: (inout Settings) -> Void = { _ in }
    ) async throws {
        var first = Settings(me: Domain(unchecked: "relay.example"))
        first.relayNetworks = [IPNetwork("127.0.0.0/8")].compactMap { $0 }
        change(&first)
        settings = InForce(first)
        store = ReceivingStore(writer: Self.writer)
        queue = MailQueue(
            store: store,
            disk: Self.disk,
            memory: MemoryBudget(limit: memory),
            options: MailQueue.Options()
        ) { recipient, _ in .domain(recipient.domain) }
        _ = try queue.recover(at: Uptime.now(), wall: Timestamp.now())
        intake = Intake(
            queue: queue,
            plugins: PluginChain(plugins, log: log, deadline: { .seconds(600) }),
            log: log,
            settings: settings
        )
        let door = Door(intake)
        listener = Listener(door: door, group: Self.loops)
        let loopback = ListenAddress(ip: try requireIP("127.0.0.1"), port: 0)
        port = try await listener.start(Listener.Place(loopback, .plain)).address.port
    }

    /// Changes the settings as a reload would.
    func change(_ change: @Sendable (inout Settings) -> Void) { settings.change(change) }
}

private struct NoAddress: Error {}

private func requireIP(_ text: String) throws -> IPAddress {
    guard let address = IPAddress(text) else { throw NoAddress() }
    return address
}
