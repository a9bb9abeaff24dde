// BounceReport.swift — a delivery status notification: what became of a message, told to its sender.
//
// Guarantees: whatever peers and senders wrote, the result is one well-formed multipart/report of three parts, in seven bits
// and lines of at most 998 octets that end in CRLF, so that every next hop takes it; only the address of a sender that needs
// SMTPUTF8 stands as it is, since nobody else could get the report. It is never larger than `returnLimit`, what its encoding
// adds, and a bounded text per recipient; memory is that of a header, whatever comes back. Automatic answers are marked
// as such (RFC 3834), so that no machine answers them.
// Source: RFC 3461, RFC 3462 (6522), RFC 3464, RFC 6533.

package import Mail
package import NIOCore

/// Everything that goes into one report, and ``make()``.
package struct BounceReport: Sendable {
    /// What the report says.
    package enum Kind: Hashable, Sendable {
        case failure, delay, success
        /// To a postmaster: a report that could not be delivered.
        case lostReport
    }

    /// Action of one recipient (RFC 3464 §2.3.3).
    package enum Action: String, Hashable, Sendable {
        case failed, delayed, delivered
        /// Handed to a next hop that makes no promise about reports.
        case relayed
    }

    /// What became of one recipient.
    package struct Entry: Hashable, Sendable {
        package let recipient: Recipient
        package let action: Action
        package let status: EnhancedStatus
        /// The reply, ours or the peer's, in words.
        package let reason: String
        /// `host[ip]:port` of the peer that spoke; nil when the reason is our own.
        package let remote: String?

        package init(_ recipient: Recipient, _ action: Action, status: EnhancedStatus, reason: String, remote: String?)
        {
            self.recipient = recipient
            self.action = action
            self.status = status
            self.reason = reason
            self.remote = remote
        }

        /// A recipient that failed, for good or for now.
        package init(_ recipient: Recipient, _ action: Action, _ failure: Failure) {
            self.init(
                recipient,
                action,
                status: failure.reply.reportedStatus,
                reason: failure.reply.description,
                remote: failure.remote
            )
        }
    }

    /// The message reported on.
    package struct Original: Sendable {
        package let id: QueueID
        package let acceptedAt: Timestamp
        package let sender: EmailAddress
        /// `ENVID=` in xtext.
        package let envelopeID: String?
        /// How much may come back: what `RET=` asked for, and the header alone with REQUIRETLS.
        package let returns: ReturnContent?
        /// Bytes of the whole message.
        package let size: Int

        package init(
            id: QueueID,
            acceptedAt: Timestamp,
            sender: EmailAddress,
            envelope: Envelope,
            size: Int
        ) {
            self.id = id
            self.acceptedAt = acceptedAt
            self.sender = sender
            envelopeID = envelope.envelopeID
            // RFC 8689 §5: what had to be protected on its way is not sent back the way it may be read.
            returns = envelope.requiresTLS ? .headers : envelope.returns
            self.size = size
        }
    }

    /// Recipients that the human part names; the part for programs has all.
    private static let mostListed = 50

    package var kind: Kind
    package var original: Original
    /// Not empty; the first names the recipient and reason of the human part.
    package var entries: [Entry]
    package var me: Domain
    /// Names the report itself, for its Message-ID.
    package var id: QueueID
    package var now: Timestamp
    package var pid: Int32
    /// `outbound.bounce_message`, for failures.
    package var template: BounceTemplate
    /// Bytes of the original that may come back; a larger one comes back as its header block.
    package var returnLimit: Int
    /// Makes the MIME boundary one that nobody can foresee, so that no message holds it.
    package var salt: UInt64

    package init(
        _ kind: Kind,
        of original: Original,
        entries: [Entry],
        me: Domain,
        id: QueueID,
        now: Timestamp,
        pid: Int32,
        template: BounceTemplate = .failure,
        returnLimit: Int = 64 << 20,
        salt: UInt64 = .random(in: 0...UInt64.max)
    ) {
        self.kind = kind
        self.original = original
        self.entries = entries
        self.me = me
        self.id = id
        self.now = now
        self.pid = pid
        self.template = template
        self.returnLimit = returnLimit
        self.salt = salt
    }

    /// SMTPUTF8 is needed to carry it, because its recipient has such an address.
    package var needsUTF8: Bool { !original.sender.isASCII }

    /// Octets that are read at once.
    private static let piece = 64 << 10
    /// Octets in which a header ends, the relay's own lines included.
    private static let mostHeader = 512 << 10

    /// Writes the report, a piece at a time.
    ///
    /// - Parameters:
    ///   - read: the message's octets from an offset, so many at most; fewer only at its end. Its lines end in CRLF.
    ///   - write: takes the report, which is not dot-stuffed and whose last line is ended.
    /// - Throws: what `read` and `write` throw.
    package func make<Trouble: Error>(
        reading read: (_ offset: Int, _ count: Int) throws(Trouble) -> ByteBuffer,
        to write: (ByteBuffer) throws(Trouble) -> Void
    ) throws(Trouble) {
        let returned = try choose(read)
        let boundary = "=_\(id)_\(String(salt, radix: 36))"
        let beginning = try read(0, min(original.size, Self.mostHeader))
        try write(opening(boundary, returned, beginning))
        switch returned {
        case .header:
            try write(ByteBuffer(bytes: ReturnedPart.header(of: beginning, limit: max(0, returnLimit))))
        case .whole(let plan):
            var writer = plan.isNeeded ? SevenBitWriter(plan) : nil
            var last: UInt8 = 0x0A
            try forEachPiece(read) { (piece) throws(Trouble) in
                last = piece.readableBytesView.last ?? last
                guard writer != nil else { return try write(piece) }
                var out = ByteBuffer()
                writer?.write(piece, to: &out)
                try write(out)
            }
            var rest = ByteBuffer()
            writer?.finish(to: &rest)
            if writer == nil, last != 0x0A { rest.writeStaticString("\r\n") }
            try write(rest)
        }
        try write(ByteBuffer(string: "\r\n--\(boundary)--\r\n"))
    }

    // MARK: Pieces

    /// Whether the message comes back, and how.
    ///
    /// Only a failure brings it back: whoever hears of a delay or a success has it still.
    private func choose<Trouble: Error>(
        _ read: (_ offset: Int, _ count: Int) throws(Trouble) -> ByteBuffer
    ) throws(Trouble) -> ReturnedPart {
        guard kind == .failure || kind == .lostReport, original.returns != .headers else { return .header(.notWanted) }
        guard original.size <= returnLimit else { return .header(.tooLarge(limit: returnLimit)) }
        // RFC 3463 X.3.4: what was too large for the next hop is too large for it in a report.
        if entries.contains(where: { ($0.status.subject, $0.status.detail) == (3, 4) }) {
            return .header(.refusedForSize)
        }
        var plan = SevenBitPlan(SevenBitPlan.Wish(breaksLines: true, isCopy: true))
        try forEachPiece(read) { (piece) throws(Trouble) in plan.look(at: piece) }
        plan.finish()
        return plan.obstacle.map { .header(.unfit($0)) } ?? .whole(plan)
    }

    private func forEachPiece<Trouble: Error>(
        _ read: (_ offset: Int, _ count: Int) throws(Trouble) -> ByteBuffer,
        _ body: (ByteBuffer) throws(Trouble) -> Void
    ) throws(Trouble) {
        var offset = 0
        while offset < original.size {
            let piece = try read(offset, min(Self.piece, original.size - offset))
            if piece.readableBytes == 0 { return }
            offset += piece.readableBytes
            try body(piece)
        }
    }

    /// Everything in front of the returned message.
    private func opening(_ boundary: String, _ returned: ReturnedPart, _ beginning: ByteBuffer) -> ByteBuffer {
        var human = fillTemplate(beginning)
        if case .header(let reason) = returned, let sentence = reason.sentence(original.size) {
            human.lines += ["", sentence]
        }
        let text = TextPart(human.lines)
        let status = StatusPart(self).body
        var bytes = ByteBuffer()
        bytes.writeString(header(subject: human.subject, boundary))
        bytes.writeString("\r\n--\(boundary)\r\nContent-Type: text/plain; charset=utf-8\r\n")
        bytes.writeString("Content-Transfer-Encoding: \(text.encoding)\r\n\r\n")
        bytes.writeImmutableBuffer(text.body)
        bytes.writeString("\r\n--\(boundary)\r\nContent-Type: message/delivery-status\r\n\r\n")
        bytes.writeImmutableBuffer(status)
        bytes.writeString("\r\n--\(boundary)\r\nContent-Type: \(returned.type)\r\n\r\n")
        return bytes
    }

    private func header(subject: String?, _ boundary: String) -> String {
        EncodedWords.field("From", "Mail Delivery System <MAILER-DAEMON@\(me.name)>")
            + "To: \(original.sender)\r\n"
            + EncodedWords.field("Subject", EncodedWords.text(subject ?? standardSubject))
                + """
                Date: \(MailDate.text(now))\r
                Message-ID: <\(id)@\(me.name)>\r
                Auto-Submitted: auto-replied\r
                MIME-Version: 1.0\r
                Content-Type: multipart/report; report-type=delivery-status;\r
                \tboundary="\(boundary)"\r
                \r
                This is a MIME-encapsulated message.\r

                """
    }

    private var standardSubject: String {
        switch kind {
        case .failure: "Undelivered mail returned to sender"
        case .delay: "Delayed mail, still being tried"
        case .success: "Mail handed over"
        case .lostReport: "A report could not be delivered"
        }
    }

    private func fillTemplate(_ beginning: ByteBuffer) -> (subject: String?, lines: [String]) {
        let first = entries.first
        let template =
            switch kind {
            case .failure: self.template
            case .delay: BounceTemplate.delay
            case .success: BounceTemplate.success
            case .lostReport: BounceTemplate.lostReport
            }
        return template.fill(
            BounceTemplate.Values(
                pid: pid,
                date: MailDate.text(now),
                me: me.name,
                from: HarmlessText.line(original.sender.description, limit: 512),
                msgid: original.id.description,
                to: HarmlessText.line(first?.recipient.address.description ?? "", limit: 512),
                reason: HarmlessText.line(first?.reason ?? "", limit: 1024),
                recipients: { listed(", ") { HarmlessText.line($0.recipient.address.description, limit: 512) } },
                subject: { HarmlessText.line(EncodedWords.decoded(Self.subject(beginning)), limit: 512) },
                extendedReason: {
                    listed("\n") { entry in
                        let address = HarmlessText.line(entry.recipient.address.description, limit: 512)
                        return "\(address): \(HarmlessText.line(entry.reason, limit: 1024))"
                    }
                }
            )
        )
    }

    /// The value of the message's `Subject`, as it was written; empty without one.
    private static func subject(_ beginning: ByteBuffer) -> ArraySlice<UInt8> {
        var block = HeaderBlock(limit: beginning.readableBytes)
        block.consume(beginning, from: 0)
        let header = Array(beginning.readableBytesView.prefix(block.size))
        return HeaderFields(header).fields.first { $0.name.isSame(octets: "subject") }?.value ?? []
    }

    /// A word for each entry; of many the first ones, and how many more there are.
    private func listed(_ separator: String, _ word: (Entry) -> String) -> String {
        var words = entries.prefix(Self.mostListed).map(word)
        if entries.count > words.count { words.append("and \(entries.count - words.count) more") }
        return words.joined(separator: separator)
    }
}
