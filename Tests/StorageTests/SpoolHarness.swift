// SpoolHarness.swift — a spool under test: waits for commits, and tells at the end what a restart would find.

import Files
import Mail
import NIOCore
import Synchronization
import TestSupport

@testable import Storage

/// A message that can be told from every other by its number.
func testMessage(
    _ number: UInt64,
    body: Int = 300,
    recipients: Int = 1,
    file: (any LargeBody)? = nil
) -> NewMessage {
    let text = testBody(number, body)
    return NewMessage(
        id: QueueID(rawValue: number),
        acceptedAt: Timestamp(milliseconds: 1_700_000_000_000 + Int64(number)),
        envelope: Envelope(
            sender: .address(EmailAddress(local: "sender\(number)", domain: Domain(unchecked: "from.example"))),
            recipients: (0..<recipients).map {
                Recipient(EmailAddress(local: "user\($0)", domain: Domain(unchecked: "to\(number).example")))
            },
            envelopeID: "env\(number)"
        ),
        content: Content(
            prologue: ByteBuffer(string: "Received: \(number)\r\n"),
            body: file.map { .file($0) } ?? .memory(ByteBuffer(string: text)),
            hasLeadingDots: number % 2 == 0,
            isEightBit: number % 3 == 0
        )
    )
}

func testBody(_ number: UInt64, _ size: Int) -> String {
    let line = "Line of message \(number).\r\n"
    return String(repeating: line, count: max(1, size / line.utf8.count))
}

func bytes(of content: Content) throws -> String {
    var all = content.prologue
    switch content.body {
    case .memory(let body): all.writeImmutableBuffer(body)
    case .file(let file):
        var offset = 0
        while offset < file.size {
            let piece = try file.read(at: offset, count: 1000)
            offset += piece.readableBytes
            all.writeImmutableBuffer(piece)
        }
    }
    return String(buffer: all)
}

final class SpoolHarness: Sendable {
    private struct State {
        var results: [QueueID: Result<Location, QueueError>] = [:]
        var problems: [SpoolProblem] = []
        var batches = 0
    }

    let spool: Spool
    let recovered: [QueueID: RecoveredMessage]
    /// In the order of the visit.
    let order: [QueueID]

    static func options(segment: Int = 16 << 10, behind: Bool = false) -> Spool.Options {
        var options = Spool.Options()
        options.recoversBehind = behind
        options.segmentSize = segment
        options.worksInBackground = false
        options.retryDelay = 0
        options.readPause = 0
        return options
    }

    private final class Collected: Sendable {
        let state = Mutex(State())
        let news = Doorbell()
    }

    private let collected: Collected

    /// - Parameter meanwhile: called with what is found while the spool is in use, where it recovers behind.
    init(
        _ disk: any Disk,
        options: Spool.Options = SpoolHarness.options(),
        directory: String = "/data/queue",
        meanwhile: (Spool, [RecoveredMessage], RecoveryProgress) -> Void = { _, _, _ in }
    ) throws {
        let collected = Collected()
        self.collected = collected
        let spool = Spool(directory: directory, disk: disk, options: options) { problem in
            collected.state.withLock { $0.problems.append(problem) }
        }
        var recovered: [QueueID: RecoveredMessage] = [:]
        var order: [QueueID] = []
        try spool.recover { message in
            recovered[message.id] = message
            order.append(message.id)
        }
        try spool.start { results in
            collected.state.withLock { state in
                state.batches += 1
                for entry in results { state.results[entry.id] = entry.result }
            }
            for _ in results { collected.news.ring() }
        }
        spool.recoverRest { messages, progress in
            for message in messages {
                recovered[message.id] = message
                order.append(message.id)
            }
            meanwhile(spool, messages, progress)
        }
        self.spool = spool
        self.recovered = recovered
        self.order = order
    }

    var problems: [SpoolProblem] { collected.state.withLock { $0.problems } }
    var batches: Int { collected.state.withLock { $0.batches } }

    /// Problems that are not mere failing calls.
    func count(_ kind: SpoolProblem.Kind) -> Int { problems.filter { $0.kind == kind }.count }

    /// Waits for the commit of a message that was appended.
    func result(of id: QueueID) throws(QueueError) -> Location {
        while true {
            if let result = collected.state.withLock({ $0.results[id] }) { return try result.get() }
            collected.news.wait()
        }
    }

    /// Appends and waits for the commit.
    @discardableResult
    func accept(_ message: NewMessage) throws(QueueError) -> Location {
        spool.append(message)
        return try result(of: message.id)
    }

    /// Appends several and waits for all of them.
    @discardableResult
    func accept(_ messages: [NewMessage]) throws(QueueError) -> [Location] {
        for message in messages { spool.append(message) }
        var locations: [Location] = []
        for message in messages { locations.append(try result(of: message.id)) }
        return locations
    }

    func acceptLarge(_ number: UInt64, size: Int) throws(QueueError) -> Location {
        let body = try spool.makeLargeBody(QueueID(rawValue: number))
        let bytes = ByteBuffer(string: testBody(number, size))
        for start in stride(from: 0, to: bytes.readableBytes, by: 10_000) {
            if let piece = bytes.getSlice(at: start, length: min(10_000, bytes.readableBytes - start)) {
                try body.write(piece)
            }
        }
        try body.finish()
        return try accept(testMessage(number, body: size, file: body))
    }

    /// What a recovered message reads as, or the error.
    func content(_ id: QueueID) throws -> String {
        guard let location = recovered[id]?.location else { throw QueueError.broken("not recovered") }
        return try bytes(of: spool.read(id, at: location).content)
    }
}
