// EnvelopeMemoryTests.swift — envelopes count in the memory for mail: 452 when it is used up, and every byte comes back,
// whatever ends the transaction.

import Config
import Ingest
import Mail
import Queue
import Storage
import TestSupport
import Testing

@Suite struct EnvelopeMemoryTests {
    private static let local = String(repeating: "a", count: 200)

    /// A session in a transaction with many recipients.
    ///
    /// - Returns: how many were accepted, and the first other reply.
    private static func fill(_ socket: Socket, _ count: Int) throws -> (accepted: Int, refusal: String?) {
        _ = socket.line()
        try socket.send("EHLO client.example\r\n")
        _ = socket.reply()
        try socket.send("MAIL FROM:<a@x.example>\r\n")
        _ = socket.line()
        var accepted = 0
        var refusal: String?
        for number in 0..<count {
            try socket.send("RCPT TO:<\(local)\(number)@recipients.example>\r\n")
            let reply = socket.line() ?? ""
            if reply.hasPrefix("250") { accepted += 1 } else { refusal = refusal ?? reply }
        }
        return (accepted, refusal)
    }

    @Test func envelopesBeyondTheMemoryAreRefusedForNow() async throws {
        let relay = try await TestRelay(memory: 100_000)
        let first = try Socket(port: relay.port)
        let (accepted, refusal) = try Self.fill(first, 400)
        #expect(refusal == "452 4.3.1 Insufficient system storage")
        #expect((100...300).contains(accepted), "some hundred fit into 100 kB: \(accepted)")
        #expect(relay.queue.memory.used <= 100_000)
        // Ordinary mail of others still comes in: its envelope asks nobody.
        let second = try Socket(port: relay.port)
        #expect(try Self.fill(second, 3) == (3, nil))
        try first.send("RSET\r\n")
        _ = first.line()
        #expect(await eventually { relay.queue.memory.used == 0 })
        await relay.listener.stop(patience: 0)
    }

    @Test(arguments: ["RSET", "EHLO again", "QUIT", "a refusal", "an end in the middle", "a message", "a failure"])
    func everyByteComesBack(_ end: String) async throws {
        let relay = try await TestRelay { $0.listener.receivedHeaders = 0 }
        do {
            let socket = try Socket(port: relay.port)
            #expect(try Self.fill(socket, 50) == (50, nil))
            #expect(relay.queue.memory.used > 50 * 200)
            switch end {
            case "RSET", "QUIT": try socket.send("\(end)\r\n")
            case "EHLO again": try socket.send("EHLO again.example\r\n")
            case "an end in the middle": break
            default:
                if end == "a failure" { relay.store.set(.failing(.full("no space"))) }
                try socket.send("DATA\r\n")
                _ = socket.line()
                try socket.send("\(end == "a refusal" ? "Received: x\r\n" : "")Subject: x\r\n\r\nx\r\n.\r\n")
                let reply = try #require(socket.line())
                #expect(reply.hasPrefix("250") == (end == "a message"))
            }
            if end != "QUIT" { try socket.send("NOOP\r\n") }
            _ = socket.reply()
        }
        let kept = relay.store.messages.reduce(0) { $0 + $1.residentBytes }
        #expect(await eventually { relay.queue.memory.used == kept })
        await relay.listener.stop(patience: 0)
    }

    /// Transactions that follow each other without a pause are not added up.
    @Test func aSessionHoldsOneEnvelope() async throws {
        let relay = try await TestRelay(memory: 200_000)
        let socket = try Socket(port: relay.port)
        #expect(try Self.fill(socket, 100) == (100, nil))
        let recipients = (0..<100).map { "RCPT TO:<\(Self.local)\($0)@recipients.example>\r\n" }.joined()
        for _ in 0..<20 {
            try socket.send("RSET\r\nMAIL FROM:<a@x.example>\r\n\(recipients)")
            for _ in 0..<102 { #expect(socket.line()?.hasPrefix("250") == true) }
        }
        #expect(relay.queue.memory.used < 100_000)
        await relay.listener.stop(patience: 0)
    }
}
