// ClientHandler+Body.swift — the message and its dot: small ones in the write that is being gathered, large ones in pieces
// that are read on the disk pool, never more of them than the socket takes.

import NIOCore
import NIOPosix
import Queue
import SMTP
import Storage

/// A body on its way from a file to the socket.
struct BodyStream {
    /// Bytes of one read.
    static let piece = 256 << 10

    let file: any LargeBody
    var encoder: DotEncoder
    var offset = 0
    var isReading = false
}

extension ClientHandler {
    /// A body up to this size is copied behind its commands; a larger one is written from where it lies.
    private static let copyLimit = 32 << 10

    func sendBody() {
        guard let content = current?.assignment.content else { return }
        let now = NIODeadline.now()
        DeliveryMetrics.record(.envelope, since: phaseBegan, at: now)
        (phaseBegan, hasBody) = (now, true)
        var encoder = DotEncoder(hasLeadingDots: content.hasLeadingDots)
        out.writeImmutableBuffer(content.prologue)
        switch content.body {
        case .memory(let bytes):
            if encoder.passesThrough, bytes.readableBytes > Self.copyLimit {
                write(bytes)
                encoder.passed(bytes)
            } else {
                encoder.encode(bytes, into: &out)
            }
            encoder.finish(into: &out)
            run(machine.handle(.bodySent))
        case .file(let file):
            stream = BodyStream(file: file, encoder: encoder)
            flush()
            bodyProgressed()
            resumeBody()
        }
    }

    /// Writes bytes behind those that have gathered, without copying them.
    private func write(_ bytes: ByteBuffer) {
        guard let context else { return }
        if out.readableBytes > 0 {
            context.write(Self.wrapOutboundOut(out), promise: nil)
            out.clear()
        }
        context.write(Self.wrapOutboundOut(bytes), promise: nil)
    }

    /// Reads the next piece of a large body when the socket can take it.
    func resumeBody() {
        guard var stream, !stream.isReading, let context, context.channel.isWritable else { return }
        stream.isReading = true
        self.stream = stream
        let (file, offset) = (stream.file, stream.offset)
        let piece: EventLoopFuture<Result<ByteBuffer, QueueError>> = plan.disk.runIfActive(
            eventLoop: context.eventLoop
        ) {
            do throws(QueueError) {
                return .success(try file.read(at: offset, count: BodyStream.piece))
            } catch {
                return .failure(error)
            }
        }
        piece.assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success(.success(let bytes)): send(bytes)
            case .success(.failure), .failure: step(.bodyFailed("the message cannot be read at the moment"))
            }
        }
    }

    private func send(_ bytes: ByteBuffer) {
        guard var stream, let context else { return }
        stream.isReading = false
        stream.offset += bytes.readableBytes
        let isLast = stream.offset >= stream.file.size
        guard isLast || bytes.readableBytes > 0 else {
            return step(.bodyFailed("the message is shorter than it was"))
        }
        var piece = ByteBuffer()
        stream.encoder.encode(bytes, into: &piece)
        if isLast { stream.encoder.finish(into: &piece) }
        self.stream = isLast ? nil : stream
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenSuccess { [self] in
            if self.stream != nil { bodyProgressed() }
        }
        context.writeAndFlush(Self.wrapOutboundOut(piece), promise: written)
        if isLast {
            step(.bodySent)
        } else {
            resumeBody()
        }
    }
}
