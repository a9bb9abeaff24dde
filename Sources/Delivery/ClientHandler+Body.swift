// ClientHandler+Body.swift — the message and its dot: small ones in the write that is being gathered, large ones and those that
// are converted in pieces that are made on the disk pool, never more of them than the socket takes.

import MessageFormat
import NIOCore
import NIOPosix
import Queue
import SMTP
import Storage

/// A message on its way from the disk, or through a conversion, to the socket.
struct BodyStream {
    /// Some of it.
    struct Piece: Sendable {
        /// What is to be sent.
        let bytes: ByteBuffer
        /// Bytes of the stored message that it stands for.
        let count: Int
        /// Where the conversion stands behind it.
        let writer: SevenBitWriter?
    }

    /// Bytes of one read, where there is memory for that.
    static let piece = 256 << 10
    /// Pieces that are in memory at once: as it was read and as it is sent, and with a conversion as it came from the disk and as
    /// it was converted, which may be longer.
    private static let (copies, copiesConverted) = (2, 5)

    /// What it takes of the memory for mail.
    let share: StreamShare
    /// What is left to send of the message: its body, or with a conversion all of it.
    let content: Content
    var encoder: DotEncoder
    var writer: SevenBitWriter?
    var offset = 0
    var isReading = false

    init(_ content: Content, _ encoder: DotEncoder, as writer: SevenBitWriter? = nil, within budget: MemoryBudget?) {
        (self.content, self.encoder, self.writer) = (content, encoder, writer)
        share =
            writer == nil
            ? StreamShare(of: budget, piece: Self.piece, copies: Self.copies)
            : StreamShare(of: budget, piece: Conversion.piece, copies: Self.copiesConverted)
    }

    /// Reads the next piece, of so many bytes at most.
    ///
    /// Blocks.
    static func read(
        _ content: Content,
        at offset: Int,
        atMost piece: Int,
        _ writer: SevenBitWriter?
    ) throws(QueueError) -> Piece {
        guard var writer else {
            guard case .file(let file) = content.body else { throw .broken("the message is in no file") }
            let bytes = try file.read(at: offset, count: piece)
            return Piece(bytes: bytes, count: bytes.readableBytes, writer: nil)
        }
        let raw = try content.read(at: offset, count: piece)
        var out = ByteBuffer()
        writer.write(ByteBuffer(bytes: raw), to: &out)
        if offset + raw.count >= content.size { writer.finish(to: &out) }
        return Piece(bytes: out, count: raw.count, writer: writer)
    }
}

extension ClientHandler {
    /// A body up to this size is copied behind its commands; a larger one is written from where it lies.
    private static let copyLimit = 32 << 10

    func sendBody() {
        guard let content = current?.assignment.content else { return }
        let now = NIODeadline.now()
        DeliveryMetrics.record(.envelope, since: phaseBegan, at: now)
        stages.envelope = .milliseconds(from: phaseBegan, to: now)
        (phaseBegan, hasBody) = (now, true)
        if let conversion { return stream(content, as: conversion) }
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
        case .file:
            let body = Content(prologue: ByteBuffer(), body: content.body, hasLeadingDots: false, isEightBit: false)
            begin(BodyStream(body, encoder, within: plan.budget))
        }
    }

    private func stream(_ content: Content, as conversion: Conversion) {
        // Conversion may bring another letter to a line's beginning.
        var encoder = DotEncoder(hasLeadingDots: true)
        encoder.encode(conversion.signatures, into: &out)
        begin(BodyStream(content, encoder, as: conversion.makeWriter(), within: plan.budget))
    }

    private func begin(_ stream: BodyStream) {
        self.stream = stream
        flush()
        bodyProgressed()
        resumeBody()
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
        let (content, offset, writer, share) = (stream.content, stream.offset, stream.writer, stream.share)
        let piece: EventLoopFuture<Result<BodyStream.Piece, QueueError>> = plan.disk.runIfActive(
            eventLoop: context.eventLoop
        ) {
            do throws(QueueError) {
                return .success(try BodyStream.read(content, at: offset, atMost: share.piece, writer))
            } catch {
                return .failure(error)
            }
        }
        piece.assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success(.success(let piece)): send(piece)
            case .success(.failure), .failure: step(.bodyFailed("the message cannot be read at the moment"))
            }
        }
    }

    private func send(_ read: BodyStream.Piece) {
        guard var stream, let context else { return }
        stream.isReading = false
        stream.offset += read.count
        stream.writer = read.writer
        let isLast = stream.offset >= stream.content.size
        guard isLast || read.count > 0 else {
            return step(.bodyFailed("the message is shorter than it was"))
        }
        var piece = ByteBuffer()
        stream.encoder.encode(read.bytes, into: &piece)
        if isLast { stream.encoder.finish(into: &piece) }
        let share = stream.share
        self.stream = isLast ? nil : stream
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { [self] result in
            // What the socket has not taken is still in memory.
            withExtendedLifetime(share) {}
            if case .success = result, self.stream != nil { bodyProgressed() }
        }
        context.writeAndFlush(Self.wrapOutboundOut(piece), promise: written)
        if isLast {
            step(.bodySent)
        } else {
            resumeBody()
        }
    }
}
