// SevenBitWriter.swift — a message as its `SevenBitPlan` wants it, a piece at a time.
//
// Guarantees: no octet above 127, unless those may stay; where the plan breaks lines, none is longer than 998 octets, and of what is encoded none
// longer than 76; every part decodes to what it was. Memory is that of one header and one line.

package import NIOCore

/// Follows a plan through the same message.
package struct SevenBitWriter: Sendable {
    private var walk = MIMEWalk()
    private var scribe: Scribe
    /// The octet that was written last.
    private var last: UInt8 = 0x0A

    /// - Parameters:
    ///   - plan: made of the same message, with no obstacle.
    ///   - dropsOwnSignatures: of the fields that the relay wrote, because others take their place.
    package init(_ plan: SevenBitPlan, dropsOwnSignatures: Bool = false) {
        scribe = Scribe(plan: plan, dropsOwnSignatures: dropsOwnSignatures)
    }

    /// Writes more of the message.
    package mutating func write(_ bytes: ByteBuffer, to out: inout ByteBuffer) {
        swap(&out, &scribe.out)
        bytes.withUnsafeReadableBytes { walk.consume($0, &scribe) }
        last = scribe.out.readableBytesView.last ?? last
        swap(&out, &scribe.out)
    }

    /// The message is over: its last line is whole.
    package mutating func finish(to out: inout ByteBuffer) {
        swap(&out, &scribe.out)
        walk.finish(&scribe)
        if (scribe.out.readableBytesView.last ?? last) != 0x0A { scribe.out.writeStaticString("\r\n") }
        swap(&out, &scribe.out)
    }
}

/// Writes what is seen on the way.
private struct Scribe: MIMEVisitor {
    let plan: SevenBitPlan
    let dropsOwnSignatures: Bool
    var out = ByteBuffer()
    private var quoted = QuotedPrintable()
    private var mending = QuotedPrintableMending()
    private var base64 = Base64Lines()
    private var rewrapping = Base64Rewrapping()
    /// Octets of the line between parts.
    private var column = 0

    init(plan: SevenBitPlan, dropsOwnSignatures: Bool) {
        self.plan = plan
        self.dropsOwnSignatures = dropsOwnSignatures
    }

    mutating func header(_ entity: MIMEEntity, _ fields: [HeaderFields.Field], _ lines: [UInt8]) {
        quoted = QuotedPrintable()
        mending = QuotedPrintableMending()
        base64 = Base64Lines()
        rewrapping = Base64Rewrapping()
        let change = plan.change(entity.number)
        var label = change.label
        let drops = dropsOwnSignatures && entity.number == 0
        for field in fields {
            let isOwn = field.lines.startIndex - lines.startIndex < plan.wish.ownOctets
            if drops, isOwn, field.name == "dkim-signature" { continue }
            if field.name == "content-transfer-encoding", change.label != nil {
                if let label { out.writeString("Content-Transfer-Encoding: \(label)\r\n") }
                label = nil
            } else {
                out.writeBytes(SevenBitHeader.field(field, keepsEightBit: plan.wish.keepsEightBit))
            }
        }
        let isEncoded = change == .quote || change == .base64
        if isEncoded, !entity.hasType {
            let charset = plan.isUTF8(entity.number) ? "utf-8" : "unknown-8bit"
            out.writeString("Content-Type: text/plain; charset=\(charset)\r\n")
        }
        if let label { out.writeString("Content-Transfer-Encoding: \(label)\r\n") }
        // Without it nobody has to decode anything.
        if entity.number == 0, plan.encodes, !entity.hasVersion { out.writeStaticString("MIME-Version: 1.0\r\n") }
        out.writeStaticString("\r\n")
        column = 0
    }

    mutating func content(_ bytes: UnsafeRawBufferPointer, of entity: MIMEEntity) {
        switch plan.change(entity.number) {
        case .keep, .relabel: out.writeBytes(bytes)
        case .quote: quoted.encode(bytes, to: &out)
        case .base64: base64.encode(bytes, to: &out)
        case .mendQuoted: mending.mend(bytes, to: &out)
        case .rewrapBase64: rewrapping.rewrap(bytes, to: &out)
        }
    }

    mutating func contentEnded(_ entity: MIMEEntity) {
        quoted.finish(to: &out)
        base64.finish(to: &out)
        column = 0
    }

    /// What nobody reads: other octets become `?`, long lines are cut.
    mutating func between(_ bytes: UnsafeRawBufferPointer, isSigned: Bool) {
        for byte in bytes {
            if byte == 0x0A || byte == 0x0D {
                column = 0
            } else {
                column += 1
                if plan.wish.breaksLines, column > SevenBitPlan.mostColumns {
                    out.writeStaticString("\r\n")
                    column = 1
                }
            }
            out.writeInteger(byte > 127 && !plan.wish.keepsEightBit ? UInt8(ascii: "?") : byte)
        }
    }
}
