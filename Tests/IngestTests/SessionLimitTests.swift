// SessionLimitTests.swift — time, connections, input that nobody can use yet, and the end of the relay.

import Config
import Hooks
import Ingest
import Mail
import NIOCore
import NIOPosix
import Queue
import TestSupport
import Testing

/// One after the other: they measure time and count connections.
@Suite(.serialized)
struct SessionLimitTests {
    private static func open(_ relay: TestRelay) throws -> Socket {
        let socket = try Socket(port: relay.port)
        _ = socket.line()
        try socket.send("EHLO client.example\r\n")
        _ = socket.reply()
        return socket
    }

    private static func startData(_ socket: Socket) throws {
        try socket.send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n")
        for _ in 0..<3 { _ = socket.line() }
    }

    @Test func silenceEndsASession() async throws {
        let relay = try await TestRelay { $0.listener.commandTimeout = 1 }
        let socket = try Socket(port: relay.port)
        _ = socket.line()
        #expect(socket.line() == "421 4.4.2 Timeout")
        #expect(socket.isAtEnd())
        await relay.listener.stop(patience: 0)
    }

    /// R8: an octet now and then is no way to keep a connection.
    @Test func aDrippedCommandEndsASession() async throws {
        let relay = try await TestRelay {
            $0.listener.commandTimeout = 5
            $0.listener.commandDeadline = 1
        }
        let socket = try Socket(port: relay.port)
        _ = socket.line()
        for _ in 0..<8 {
            try? socket.send("N")
            socket.awaitInput(atMost: 200)
        }
        #expect(socket.line() == "421 4.4.2 Timeout")
        await relay.listener.stop(patience: 0)
    }

    @Test func silenceInAMessageEndsASession() async throws {
        let relay = try await TestRelay { $0.listener.dataTimeout = 1 }
        let socket = try Self.open(relay)
        try Self.startData(socket)
        try socket.send("Subject: x\r\n")
        #expect(socket.line() == "421 4.4.2 Timeout")
        #expect(await eventually { relay.queue.memory.used == 0 })
        await relay.listener.stop(patience: 0)
    }

    @Test func aDrippedMessageEndsASession() async throws {
        let relay = try await TestRelay {
            $0.listener.dataTimeout = 5
            $0.listener.dataDeadline = 1
        }
        let socket = try Self.open(relay)
        try Self.startData(socket)
        for _ in 0..<8 {
            try? socket.send("a\r\n")
            socket.awaitInput(atMost: 200)
        }
        #expect(socket.line() == "421 4.4.2 Timeout")
        await relay.listener.stop(patience: 0)
    }

    @Test func aWholeSessionHasADeadline() async throws {
        let relay = try await TestRelay { $0.listener.sessionDeadline = 1 }
        let socket = try Self.open(relay)
        for _ in 0..<8 {
            try? socket.send("NOOP\r\n")
            socket.awaitInput(atMost: 200)
        }
        var last: String?
        while let line = socket.line() { last = line }
        #expect(last == "421 4.4.2 Timeout")
        await relay.listener.stop(patience: 0)
    }

    /// The limits are the client's; what it waits for is ours to end.
    @Test func aClientThatWaitsForUsIsNotTimedOut() async throws {
        let relay = try await TestRelay(plugins: [Ponderer(.milliseconds(2500))]) {
            $0.listener.commandTimeout = 1
            $0.listener.dataTimeout = 1
            $0.listener.dataDeadline = 1
            $0.listener.sessionDeadline = 2
            $0.listener.bannerDelay = 2500
        }
        let socket = try Socket(port: relay.port)
        #expect(socket.line()?.hasPrefix("220") == true)
        try socket.send("EHLO client.example\r\n")
        _ = socket.reply()
        try Self.startData(socket)
        try socket.send("hello\r\n.\r\n")
        #expect(socket.line()?.hasPrefix("250 2.0.0 Queued as") == true)
        #expect(socket.line() == "421 4.4.2 Timeout", "and now it is the client's turn")
        await relay.listener.stop(patience: 0)
    }

    @Test func aSlowDiskIsATemporaryRefusal() async throws {
        let relay = try await TestRelay { $0.listener.commitTimeout = 1 }
        relay.store.set(.held)
        let socket = try Self.open(relay)
        try Self.startData(socket)
        try socket.send("hello\r\n.\r\nNOOP\r\n")
        #expect(socket.line()?.hasPrefix("451 4.3.0") == true)
        #expect(socket.line() == "250 2.0.0 Ok")
        relay.store.commit()
        try socket.send("NOOP\r\n")
        #expect(socket.line() == "250 2.0.0 Ok", "the late commit says nothing")
        await relay.listener.stop(patience: 0)
    }

    /// R7, over the real thing: the banner waits, the client does not.
    @Test func anEarlyTalkerIsRefused() async throws {
        let relay = try await TestRelay { $0.listener.bannerDelay = 1000 }
        let socket = try Socket(port: relay.port)
        try socket.send("EHLO early.example\r\n")
        #expect(socket.line()?.hasPrefix("554 5.5.0") == true)
        #expect(socket.isAtEnd())
        await relay.listener.stop(patience: 0)
    }

    @Test func thereIsAnEndToConnections() async throws {
        let relay = try await TestRelay { $0.listener.connections = 2 }
        let (first, second) = (try Self.open(relay), try Self.open(relay))
        let third = try Socket(port: relay.port)
        #expect(third.line()?.hasPrefix("421 4.7.0") == true)
        #expect(third.isAtEnd())
        try first.send("QUIT\r\n")
        _ = first.line()
        #expect(await eventually { relay.listener.connections == 1 })
        let fourth = try Socket(port: relay.port)
        #expect(fourth.line()?.hasPrefix("220") == true)
        _ = second
        await relay.listener.stop(patience: 0)
    }

    @Test func thereIsAnEndToTheConnectionsOfOneClient() async throws {
        let relay = try await TestRelay { $0.listener.connectionsPerClient = 1 }
        let first = try Self.open(relay)
        let second = try Socket(port: relay.port)
        #expect(second.line()?.hasPrefix("421 4.7.0") == true)
        _ = first
        await relay.listener.stop(patience: 0)
    }

    /// While a message waits for the disk, what a client pipelines behind it stays in the client's and the kernel's hands.
    @Test func inputBehindACommitIsNotBuffered() async throws {
        let relay = try await TestRelay()
        relay.store.set(.held)
        let socket = try Self.open(relay)
        try Self.startData(socket)
        try socket.send("hello\r\n.\r\n")
        let flood = [UInt8](repeating: 0x0A, count: 1 << 16)
        let taken = socket.sendUntilFull(flood, atMost: 64 << 20)
        #expect(taken < 32 << 20, "\(taken) bytes were taken")
        relay.store.commit()
        #expect(socket.line()?.hasPrefix("250 2.0.0 Queued as") == true)
        await relay.listener.stop(patience: 0)
    }

    /// A client that sends commands and reads no replies is not read from for long.
    @Test func repliesThatNobodyReadsAreBounded() async throws {
        let relay = try await TestRelay {
            $0.listener.idleCommands = 100_000_000
            $0.listener.commandTimeout = 2
        }
        let socket = try Socket(port: relay.port, receiveBuffer: 4096)
        _ = socket.line()
        let flood = Array(String(repeating: "HELP\r\n", count: 10_000).utf8)
        let taken = socket.sendUntilFull(flood, atMost: 64 << 20)
        #expect(taken < 32 << 20, "\(taken) bytes were taken")
        #expect(await eventually { relay.listener.connections == 0 }, "and the time limit ends it")
        await relay.listener.stop(patience: 0)
    }

    @Test func settingsAreHot() async throws {
        let relay = try await TestRelay()
        let socket = try Self.open(relay)
        relay.change { $0.relayNetworks = [] }
        var answer: String?
        let isDenied = await eventually {
            socket.awaitInput(atMost: 100)
            try? socket.send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nRSET\r\n")
            _ = socket.line()
            answer = socket.line()
            _ = socket.line()
            return answer == "550 5.7.1 Relaying denied"
        }
        #expect(isDenied, "the last answer was \(answer ?? "none")")
        await relay.listener.stop(patience: 0)
    }

    // MARK: The end

    /// C6: idle sessions hear 421 at once, a transaction may finish.
    @Test func stoppingLetsTransactionsFinish() async throws {
        let relay = try await TestRelay()
        let (idle, busy) = (try Self.open(relay), try Self.open(relay))
        try Self.startData(busy)
        async let stopped: Void = relay.listener.stop(patience: 5)
        #expect(idle.line() == "421 4.3.2 Shutting down")
        #expect(idle.isAtEnd())
        try busy.send("hello\r\n.\r\n")
        #expect(busy.line()?.hasPrefix("250 2.0.0 Queued as") == true)
        #expect(busy.line() == "421 4.3.2 Shutting down")
        await stopped
        #expect(relay.listener.connections == 0)
        #expect(throws: Socket.Failed.self) { try Socket(port: relay.port) }
    }

    @Test func stoppingHasADeadline() async throws {
        let relay = try await TestRelay()
        let busy = try Self.open(relay)
        try Self.startData(busy)
        try busy.send("hello\r\n")
        await relay.listener.stop(patience: 1)
        #expect(busy.line() == "421 4.3.2 Shutting down")
        #expect(relay.store.messages.isEmpty)
        #expect(relay.queue.memory.used == 0)
    }
}

/// Takes its time over every message.
private struct Ponderer: Plugin {
    let name = "ponderer"
    let hooks: HookSet = .queueOutbound
    private let time: Duration

    init(_ time: Duration) { self.time = time }

    func queueOutbound(_ envelope: inout Envelope, _ contents: MessageContents) async -> QueueOutboundAnswer {
        let clock = TestRelay.loops.next()
        let (seconds, attoseconds) = time.components
        let amount = TimeAmount.nanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
        try? await clock.scheduleTask(in: amount) {}.futureResult.get()
        return .next
    }
}
