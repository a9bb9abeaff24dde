// ReceptionTests.swift — what is stored is what was sent, with our lines in front; nothing else is stored; nothing leaks.

import Config
import Ingest
import Mail
import NIOCore
import NIOPosix
import Queue
import Storage
import Synchronization
import TestSupport
import Testing

struct ReceptionTests {
    private static func greet(_ socket: Socket) throws {
        _ = socket.line()
        try socket.send("EHLO client.example\r\n")
        _ = socket.reply()
    }

    private static func envelope(_ socket: Socket, data: String = "DATA\r\n") throws {
        try greet(socket)
        try socket.send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n\(data)")
        for _ in 0..<(data.isEmpty ? 2 : 3) { _ = socket.line() }
    }

    private static func prologue(_ message: NewMessage) -> String { String(buffer: message.content.prologue) }

    @Test func putsATraceInFront() async throws {
        let relay = try await TestRelay()
        let socket = try Socket(port: relay.port)
        try Self.envelope(socket)
        try socket.send("Subject: x\r\n\r\nhello\r\n.\r\n")
        let reply = try #require(socket.line())
        let message = try #require(relay.store.messages.first)
        #expect(reply == "250 2.0.0 Queued as \(message.id)")
        let lines = Self.prologue(message).split(separator: "\r\n").map(String.init)
        #expect(lines.count == 6)
        #expect(lines.first == "Received: from client.example ([127.0.0.1])")
        #expect(lines[1] == "\tby relay.example (Martlet outbound) with ESMTP id \(message.id)")
        #expect(lines[2] == "\tfor <b@x.example>;")
        #expect(lines[3].hasSuffix(" +0000"))
        #expect(lines[4] == "Message-ID: <\(message.id)@relay.example>")
        #expect(lines[5].hasPrefix("Date: "))
        await relay.listener.stop(patience: 0)
    }

    @Test func addsOnlyWhatIsMissing() async throws {
        let relay = try await TestRelay()
        let socket = try Socket(port: relay.port)
        try Self.envelope(socket)
        try socket.send("date: x\r\nMESSAGE-ID : <1@x>\r\n\r\nDate of no header\r\n.\r\n")
        _ = socket.line()
        let first = try #require(relay.store.messages.first)
        #expect(!Self.prologue(first).contains("Date:"))
        #expect(!Self.prologue(first).contains("Message-ID:"))
        try socket.send("MAIL FROM:<>\r\nRCPT TO:<b@x.example>\r\nRCPT TO:<c@x.example>\r\nDATA\r\n")
        for _ in 0..<4 { _ = socket.line() }
        try socket.send("no header at all\r\n.\r\n")
        _ = socket.line()
        let second = try #require(relay.store.messages.last)
        #expect(Self.prologue(second).hasSuffix("+0000\r\n\r\n"), "an empty line ends our header")
        #expect(!Self.prologue(second).contains("for <"), "several recipients are nobody's business")
        await relay.listener.stop(patience: 0)
    }

    @Test func aLoopIsRefused() async throws {
        let relay = try await TestRelay { $0.listener.receivedHeaders = 3 }
        let socket = try Socket(port: relay.port)
        try Self.envelope(socket)
        try socket.send(String(repeating: "Received: x\r\n", count: 3) + "\r\nReceived: in the body\r\n.\r\n")
        #expect(socket.line()?.hasPrefix("250") == true)
        try socket.send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n")
        for _ in 0..<3 { _ = socket.line() }
        try socket.send(String(repeating: "Received: x\r\n", count: 4) + "\r\n.\r\n")
        #expect(socket.line() == "554 5.4.6 Too many hops")
        try socket.send("NOOP\r\n")
        #expect(socket.line() == "250 2.0.0 Ok")
        await relay.listener.stop(patience: 0)
        #expect(relay.store.messages.count == 1)
        #expect(relay.queue.memory.used == relay.store.messages.reduce(0) { $0 + $1.residentBytes })
    }

    @Test func aHeaderWithoutEndIsRefused() async throws {
        let relay = try await TestRelay { $0.listener.headerBytes = 10_000 }
        let socket = try Socket(port: relay.port)
        try Self.envelope(socket)
        let line = "X-Long: " + String(repeating: "a", count: 90) + "\r\n"
        try socket.send(String(repeating: line, count: 5000) + ".\r\n")
        #expect(socket.line() == "552 5.3.4 Message header too big")
        await relay.listener.stop(patience: 0)
        #expect(relay.store.messages.isEmpty)
        #expect(relay.queue.memory.used == 0)
    }

    @Test(arguments: ["DATA", "BDAT"])
    func aLargeMessageGoesToAFile(verb: String) async throws {
        let relay = try await TestRelay { $0.listener.inMemoryBytes = 100_000 }
        let socket = try Socket(port: relay.port)
        let body = (0..<60_000).map { "line \($0) of a large message\r\n" }.joined()
        if verb == "DATA" {
            try Self.envelope(socket)
            try socket.send(body + ".\r\n")
        } else {
            try Self.envelope(socket, data: "")
            try socket.send("BDAT \(body.utf8.count) LAST\r\n" + body)
        }
        #expect(socket.line()?.hasPrefix("250 2.0.0 Queued as") == true)
        let message = try #require(relay.store.messages.first)
        guard case .file(let file) = message.content.body else {
            Issue.record("not in a file")
            return
        }
        #expect(try String(buffer: file.read(at: 0, count: file.size)) == body)
        let state = try #require(relay.store.bodies.first).state
        #expect(state.isFinished)
        #expect(!state.isDiscarded)
        #expect(state.largestWrite < 500_000, "memory must not grow with the message")
        #expect(relay.queue.memory.used == message.residentBytes)
        await relay.listener.stop(patience: 0)
    }

    @Test func withoutMemoryEvenASmallMessageGoesToAFile() async throws {
        let relay = try await TestRelay(memory: 10)
        let socket = try Socket(port: relay.port)
        try Self.envelope(socket)
        try socket.send("Subject: small\r\n\r\n.\r\n")
        #expect(socket.line()?.hasPrefix("250") == true)
        #expect(relay.store.bodies.first?.size == 18)
        await relay.listener.stop(patience: 0)
    }

    @Test(arguments: [(QueueError.full("x"), "452 4.3.1"), (.broken("x"), "451 4.3.0")])
    func aFileThatCannotBeWrittenIsATemporaryRefusal(error: QueueError, code: String) async throws {
        let relay = try await TestRelay { $0.listener.inMemoryBytes = 1000 }
        relay.store.setBodyError(error)
        let socket = try Socket(port: relay.port)
        try Self.envelope(socket)
        try socket.send(String(repeating: "Subject: x\r\n\r\nmore than a thousand octets\r\n", count: 20_000) + ".\r\n")
        #expect(socket.line()?.hasPrefix(code) == true)
        try socket.send("NOOP\r\n")
        #expect(socket.line() == "250 2.0.0 Ok")
        await relay.listener.stop(patience: 0)
        #expect(relay.queue.memory.used == 0)
        #expect(relay.store.messages.isEmpty)
    }

    /// R11: whatever was received before the end of a message is forgotten with the connection.
    @Test(arguments: [
        "DATA\r\nhello", "DATA\r\nhello\r\n.", "DATA\r\nhello\r\n.\r", "BDAT 500 LAST\r\nhello", "BDAT 7\r\nhello\r\n",
    ])
    func aLostConnectionQueuesNothing(part: String) async throws {
        let relay = try await TestRelay()
        for reset in [true, false] {
            let socket = try Socket(port: relay.port)
            try Self.envelope(socket, data: "")
            try socket.send(part)
            if part.hasPrefix("DATA") { _ = socket.line() }
            if reset { socket.reset() }
        }
        #expect(await eventually { relay.listener.connections == 0 })
        #expect(relay.store.messages.isEmpty)
        #expect(relay.queue.memory.used == 0)
        await relay.listener.stop(patience: 0)
    }

    @Test func aLostConnectionRemovesTheFile() async throws {
        let relay = try await TestRelay { $0.listener.inMemoryBytes = 1000 }
        let socket = try Socket(port: relay.port)
        try Self.envelope(socket)
        try socket.send(String(repeating: "Subject: x\r\n", count: 30_000))
        #expect(await eventually { relay.store.bodies.first.map { $0.size > 0 } ?? false })
        socket.reset()
        #expect(await eventually { relay.store.bodies.first?.state.isDiscarded == true })
        #expect(await eventually { relay.queue.memory.used == 0 })
        #expect(relay.store.bodies.first?.state.writesAfterDiscard == 0)
        await relay.listener.stop(patience: 0)
    }

    @Test func asksForRoomBeforeItTakesAMessage() async throws {
        let relay = try await TestRelay()
        let socket = try Socket(port: relay.port)
        try Self.greet(socket)
        try socket.send("MAIL FROM:<a@x.example> SIZE=4711\r\n")
        _ = socket.line()
        #expect(relay.store.asked == [4711])
        try socket.send("RCPT TO:<b@x.example>\r\nDATA\r\n")
        _ = socket.line()
        _ = socket.line()
        #expect(relay.store.asked == [4711, 4711])
        await relay.listener.stop(patience: 0)
    }
}
