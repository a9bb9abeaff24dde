// TestIntake.swift — the one way in with a queue behind it, real but for the disk.

import Config
import Hooks
import Intake
import Log
import Loop
import Mail
import NIOCore
import NIOPosix
import Queue
import TestSupport

/// What a test hands mail to.
struct TestIntake: Sendable {
    /// Shared by all tests: loops are dear, and tests are many.
    static let loops = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    private static let disk = pool(threads: 2)
    /// One thread, as the real store has.
    private static let writer = pool(threads: 1)

    private static func pool(threads: Int) -> NIOThreadPool {
        let pool = NIOThreadPool(numberOfThreads: threads)
        pool.start()
        return pool
    }

    let store: ReceivingStore
    let intake: Intake
    var memory: MemoryBudget { intake.queue.memory }
    var rules: IntakeRules { IntakeRules(intake.settings.current) }

    init(
        memory: Int = 64 << 20,
        plugins: [any Plugin] = [],
        log: LogSink = LogSink(level: .critical),
        keepsHistory: Bool = false,
        _ change: (inout Settings) throws -> Void = { _ in }
    ) throws {
        var settings = Settings(me: Domain(unchecked: "relay.example"))
        try change(&settings)
        store = ReceivingStore(writer: Self.writer)
        let queue = MailQueue(
            store: store,
            disk: Self.disk,
            memory: MemoryBudget(limit: memory),
            options: MailQueue.Options(),
            keepsHistory: keepsHistory
        ) { recipient, _ in .domain(recipient.domain) }
        _ = try queue.recover(at: Uptime.now(), wall: Timestamp.now())
        intake = Intake(
            queue: queue,
            plugins: PluginChain(plugins, log: log, deadline: { .seconds(600) }),
            log: log,
            settings: InForce(settings)
        )
    }

    /// Hands a whole message in.
    func submit(_ text: String, from provenance: Provenance = Provenance(.api), id: QueueID? = nil) async -> Admission {
        await intake.submit(
            Submission(Self.envelope, ByteBuffer(string: text), from: provenance, id: id),
            on: Self.loops.next()
        )
    }

    static var envelope: Envelope {
        let sender = EmailAddress("a@x.example").map { ReversePath.address($0) } ?? .null
        return Envelope(
            sender: sender,
            recipients: [EmailAddress("b@x.example")].compactMap { $0 }.map { Recipient($0) }
        )
    }
}
