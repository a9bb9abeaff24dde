// Conversion.swift — a message as a next hop gets it that does not take it as it is: seven bits for one without 8BITMIME
// (RFC 6152 §3), short lines where `long_lines` says so.
//
// The stored message stays as it is; it is converted for this hop alone, in pieces, while it is sent. A signature of ours
// is made anew over what is sent; a message that somebody else has signed is not converted.

import Config
import Intake
import Mail
import MessageFormat
import NIOCore
import OpenSSL
import Storage

/// What was found out about one message for one hop.
struct Conversion: Sendable {
    /// What to do.
    enum Verdict: Sendable {
        /// It goes as it is.
        case needless
        case possible(Conversion)
        /// In words behind “it cannot be converted:”.
        case impossible(String)
    }

    /// Octets that are read at once: a session's memory for it is some four times that.
    static let piece = 64 << 10

    let plan: SevenBitPlan
    /// Signatures in place of those that the message was accepted with.
    let signatures: ByteBuffer
    /// Bytes of the message as it is sent, before dot-stuffing.
    let size: Int
    /// It has no octet above 127.
    var isSevenBit: Bool { !plan.wish.keepsEightBit }
    private let isSigned: Bool

    /// Whether a hop of these abilities may need it; cheap.
    static func isWanted(_ content: Content, takesEightBit: Bool, _ longLines: OutboundSettings.LongLines) -> Bool {
        if content.isEightBit, !takesEightBit { return true }
        guard longLines == .encode else { return false }
        guard case .memory(let bytes) = content.body else { return true }
        return SevenBitPlan.hasLongLine(bytes)
    }

    /// Goes through the message twice: for a plan, and for what it comes to.
    ///
    /// Blocks.
    /// - Throws: ``QueueError`` when the message cannot be read, or not be signed.
    static func prepare(
        _ content: Content,
        _ wish: SevenBitPlan.Wish,
        _ dkim: DKIMSettings
    ) throws(QueueError) -> Verdict {
        var wish = wish
        wish.ownOctets = content.prologue.readableBytes
        var plan = SevenBitPlan(wish)
        try forEachPiece(content) { plan.look(at: $0) }
        plan.finish()
        guard plan.isNeeded else { return .needless }
        if let obstacle = plan.obstacle { return .impossible("\(obstacle)") }
        let isSigned = HeaderFields(Array(content.prologue.readableBytesView)).fields
            .contains { $0.name.isSame(octets: "dkim-signature") }
        var writer = SevenBitWriter(plan, dropsOwnSignatures: isSigned)
        let draft = isSigned ? DKIMDraft(keys: dkim.signers) : nil
        var header = HeaderBlock(limit: .max)
        var size = 0
        func count(_ out: ByteBuffer) {
            size += out.readableBytes
            if !header.hasEnded { header.consume(out, from: 0) }
            draft?.update(out, from: 0, header)
        }
        try forEachPiece(content) { piece in
            var out = ByteBuffer()
            writer.write(piece, to: &out)
            count(out)
        }
        var rest = ByteBuffer()
        writer.finish(to: &rest)
        count(rest)
        do throws(TLSError) {
            let fields = try draft?.complete()?.signatures(dkim.coverage, at: .now()) ?? []
            let signatures = ByteBuffer(bytes: fields)
            return .possible(
                Conversion(plan: plan, signatures: signatures, size: size + fields.count, isSigned: isSigned)
            )
        } catch {
            throw .broken("the converted message cannot be signed: \(error.reason)")
        }
    }

    /// Writes the message, behind ``signatures``.
    func makeWriter() -> SevenBitWriter { SevenBitWriter(plan, dropsOwnSignatures: isSigned) }

    private static func forEachPiece(_ content: Content, _ body: (ByteBuffer) -> Void) throws(QueueError) {
        var offset = 0
        while offset < content.size {
            let piece = try content.read(at: offset, count: Self.piece)
            if piece.isEmpty { throw .broken("the message is shorter than it was") }
            offset += piece.count
            body(ByteBuffer(bytes: piece))
        }
    }
}
