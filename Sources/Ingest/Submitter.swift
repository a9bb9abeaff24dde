// Submitter.swift — mail that is made inside the process: reports of failed deliveries, the source document's
// `send_email()`. Same prologue, same queue, same durability as mail that came in by SMTP.

package import Config
package import Log
package import Mail
import MessageFormat
package import NIOCore
import NIOPosix
import OpenSSL
package import Queue
import SMTP
package import Storage

/// Puts messages into the queue from any thread.
package struct Submitter: Sendable {
    private let queue: MailQueue
    private let entrance: Entrance
    private let log: LogSink
    private let settings: @Sendable () -> Settings

    /// - Parameters:
    ///   - entrance: what the metrics call this door.
    ///   - settings: those in force.
    package init(
        queue: MailQueue,
        as entrance: Entrance,
        log: LogSink,
        settings: @escaping @Sendable () -> Settings
    ) {
        self.queue = queue
        self.entrance = entrance
        self.log = log
        self.settings = settings
    }

    /// Queues a message.
    ///
    /// - Parameters:
    ///   - content: header and body with CRLF line ends, not dot-stuffed; Message-ID and Date are added where missing.
    ///   - id: its name, where it has one already.
    ///   - loop: where `done` is called.
    ///   - done: the id once the message is durable, or why it is not.
    package func submit(
        _ envelope: Envelope,
        _ content: ByteBuffer,
        as id: QueueID? = nil,
        at now: Timestamp,
        on loop: any EventLoop,
        done: @escaping @Sendable (Result<QueueID, QueueError>) -> Void
    ) {
        var (input, body) = (content, ByteBufferAllocator().buffer(capacity: content.readableBytes + 2))
        var check = ChunkDecoder()
        check.begin(input.readableBytes)
        _ = check.decode(&input, into: &body)
        check.finish(&body)
        guard check.isClean else {
            loop.execute { done(.failure(.damaged("a bare CR, bare LF or NUL in a message made inside"))) }
            return
        }
        let id = id ?? queue.makeID(at: now)
        let settings = settings()
        let prologue = prologue(id, at: now, envelope, body, settings)
        let traits = (check.hasLeadingDots, check.isEightBit)
        let dkim = settings.dkim
        guard !dkim.domains.isEmpty else {
            store(id, now, envelope, prologue, body, traits, loop, done)
            return
        }
        let bytes = body
        queue.disk.submit { _ in
            do throws(TLSError) {
                let fields = try DKIMDraft.signatures(
                    of: bytes,
                    prologue: prologue,
                    dkim.coverage,
                    at: now,
                    keys: dkim.signers
                )
                store(
                    id,
                    now,
                    envelope,
                    ByteBuffer(bytes: fields + prologue.readableBytesView),
                    bytes,
                    traits,
                    loop,
                    done
                )
            } catch {
                let reason = "cannot sign: \(error)"
                loop.execute { done(.failure(.damaged(reason))) }
            }
        }
    }

    /// Hands the complete message to the queue.
    private func store(
        _ id: QueueID,
        _ now: Timestamp,
        _ envelope: Envelope,
        _ prologue: ByteBuffer,
        _ body: ByteBuffer,
        _ traits: (hasLeadingDots: Bool, isEightBit: Bool),
        _ loop: any EventLoop,
        _ done: @escaping @Sendable (Result<QueueID, QueueError>) -> Void
    ) {
        let (hasLeadingDots, isEightBit) = traits
        let content = { @Sendable (body: Content.Body) in
            Content(prologue: prologue, body: body, hasLeadingDots: hasLeadingDots, isEightBit: isEightBit)
        }
        if queue.memory.reserve(body.readableBytes) {
            queue.memory.force(prologue.readableBytes)
            accept(NewMessage(id: id, acceptedAt: now, envelope: envelope, content: content(.memory(body))), loop, done)
            return
        }
        // Memory for mail is used up: by way of a file, on a thread that may block.
        let (queue, bytes) = (queue, body)
        queue.disk.submit { state in
            guard case .active = state else {
                loop.execute { done(.failure(.closing)) }
                return
            }
            do throws(QueueError) {
                let file = try queue.makeLargeBody(id)
                do throws(QueueError) {
                    try file.write(bytes)
                    try file.finish()
                } catch {
                    file.discard()
                    throw error
                }
                queue.memory.force(prologue.readableBytes)
                accept(
                    NewMessage(id: id, acceptedAt: now, envelope: envelope, content: content(.file(file))),
                    loop,
                    done
                )
            } catch {
                loop.execute { done(.failure(error)) }
            }
        }
    }

    /// Queues a message as the document's `send_email(from, to, contents)` gets it.
    ///
    /// - Parameters:
    ///   - to: at least one.
    ///   - contents: header and body; lines may end in LF or CRLF.
    ///   - loop: where blocking work reports back to.
    /// - Returns: the message's name once it is durable.
    /// - Throws: why it is not.
    package func sendEmail(
        from: ReversePath,
        to: [EmailAddress],
        contents: [UInt8],
        on loop: any EventLoop
    ) async throws(QueueError) -> QueueID {
        guard !to.isEmpty else { throw .damaged("a message made inside has no recipient") }
        var isASCII = to.allSatisfy(\.isASCII)
        if case .address(let sender) = from { isASCII = isASCII && sender.isASCII }
        let envelope = Envelope(
            sender: from,
            recipients: to.map { Recipient($0) },
            isEightBit: contents.contains { $0 > 127 },
            needsUTF8: !isASCII
        )
        let stored = loop.makePromise(of: Result<QueueID, QueueError>.self)
        submit(envelope, Self.withLineEnds(contents), at: .now(), on: loop) { stored.succeed($0) }
        return try ((try? await stored.futureResult.get()) ?? .failure(.closing)).get()
    }

    /// Every line end as CRLF, the last line's too.
    private static func withLineEnds(_ contents: [UInt8]) -> ByteBuffer {
        var result = ByteBufferAllocator().buffer(capacity: contents.count + contents.count / 32 + 2)
        let (cr, lf) = (UInt8(ascii: "\r"), UInt8(ascii: "\n"))
        var previous: UInt8 = lf
        for byte in contents {
            // A CR alone becomes a line end when the next octet, which is no LF, comes.
            if previous == cr, byte != lf { result.writeInteger(lf) }
            if byte == lf, previous != cr { result.writeInteger(cr) }
            result.writeInteger(byte)
            previous = byte
        }
        if previous == cr { result.writeInteger(lf) }
        if previous != cr, previous != lf { result.writeStaticString("\r\n") }
        return result
    }

    private func accept(
        _ message: NewMessage,
        _ loop: any EventLoop,
        _ done: @escaping @Sendable (Result<QueueID, QueueError>) -> Void
    ) {
        let receipt = Receipt(message, client: "", helo: "")
        let log = log
        queue.accept(message, by: entrance, on: loop) { error in
            if let error {
                done(.failure(error))
            } else {
                receipt.log(to: log)
                done(.success(receipt.id))
            }
        }
    }

    private func prologue(
        _ id: QueueID,
        at now: Timestamp,
        _ envelope: Envelope,
        _ body: ByteBuffer,
        _ settings: Settings
    ) -> ByteBuffer {
        var header = HeaderBlock(limit: .max)
        header.consume(body, from: 0)
        var prologue = ByteBuffer()
        var trace = TraceHeaders(comment: settings.outbound.receivedHeader)
        let facts = TraceHeaders.Facts(
            id: id,
            at: now,
            me: settings.me.name,
            helo: nil,
            clientLiteral: "",
            with: TraceHeaders.Transport(),
            onlyRecipient: envelope.recipients.count == 1 ? envelope.recipients.first?.address : nil
        )
        trace.write(facts, header: header, to: &prologue)
        return prologue
    }
}
