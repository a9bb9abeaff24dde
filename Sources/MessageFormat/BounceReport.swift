// BounceReport.swift — a delivery status notification: what became of a message, told to its sender.
//
// Guarantees: whatever peers and senders wrote, the result is one well-formed multipart/report of three parts whose lines
// end in CRLF; it is never larger than `returnLimit` and a bounded text per recipient. Automatic answers are marked as
// such (RFC 3834), so that no machine answers them.
// Source: RFC 3461, RFC 3462 (6522), RFC 3464, RFC 6533.

package import Mail
package import NIOCore

/// Everything that goes into one report, and ``make()``.
package struct BounceReport: Sendable {
    /// What the report says.
    package enum Kind: Hashable, Sendable {
        case failure, delay, success
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
        /// SMTPUTF8 was given.
        package let needsUTF8: Bool
        /// Some octet is above 127.
        package let isEightBit: Bool
        /// Bytes of the whole message.
        package let size: Int
        /// The message from its beginning, its lines ended by CRLF, as far as the caller cared to read.
        ///
        /// `returnLimit` bytes are enough.
        package let prefix: ByteBuffer

        package init(
            id: QueueID,
            acceptedAt: Timestamp,
            sender: EmailAddress,
            envelope: Envelope,
            isEightBit: Bool,
            size: Int,
            prefix: ByteBuffer
        ) {
            self.id = id
            self.acceptedAt = acceptedAt
            self.sender = sender
            envelopeID = envelope.envelopeID
            // RFC 8689 §5: what had to be protected on its way is not sent back the way it may be read.
            returns = envelope.requiresTLS ? .headers : envelope.returns
            needsUTF8 = envelope.needsUTF8
            self.isEightBit = isEightBit
            self.size = size
            self.prefix = prefix
        }

        /// The value of its `Subject`, as it was written; empty without one.
        var subject: ArraySlice<UInt8> {
            var block = HeaderBlock(limit: prefix.readableBytes)
            block.consume(prefix, from: 0)
            let header = Array(prefix.readableBytesView.prefix(block.size))
            return HeaderFields(header).fields.first { $0.name.isSame(octets: "subject") }?.value ?? []
        }
    }

    /// A finished report: the bytes of a message, not dot-stuffed, the last line ended.
    package struct Made: Sendable {
        package let bytes: ByteBuffer
        package let isEightBit: Bool
        /// SMTPUTF8 is needed to carry it.
        package let needsUTF8: Bool
        package let hasLeadingDots: Bool
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
    /// Makes the MIME boundary one that nobody can foresee.
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
        returnLimit: Int = 1 << 20,
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

    /// Writes the report.
    package func make() -> Made {
        let needsUTF8 = !original.sender.isASCII
        let human = fillTemplate()
        let text = TextPart(human.lines)
        let status = StatusPart(self, isGlobal: needsUTF8).body
        let returned = ReturnedPart(original, kind: kind, limit: returnLimit)
        let boundary = makeBoundary(avoiding: [text.body, status, returned.body])

        var bytes = ByteBuffer()
        bytes.reserveCapacity(text.body.readableBytes + status.readableBytes + returned.body.readableBytes + 2048)
        bytes.writeString(header(subject: human.subject, boundary))
        bytes.writeString("\(opening(boundary))Content-Type: text/plain; charset=utf-8\r\n")
        bytes.writeString("Content-Transfer-Encoding: \(text.encoding)\r\n\r\n")
        bytes.writeImmutableBuffer(text.body)
        let statusType = needsUTF8 ? "message/global-delivery-status" : "message/delivery-status"
        bytes.writeString("\(opening(boundary))Content-Type: \(statusType)\r\n")
        if needsUTF8 { bytes.writeStaticString("Content-Transfer-Encoding: 8bit\r\n") }
        bytes.writeStaticString("\r\n")
        bytes.writeImmutableBuffer(status)
        bytes.writeString("\(opening(boundary))Content-Type: \(returned.type)\r\n")
        if returned.isEightBit { bytes.writeStaticString("Content-Transfer-Encoding: 8bit\r\n") }
        bytes.writeStaticString("\r\n")
        bytes.writeImmutableBuffer(returned.body)
        bytes.writeString("\r\n--\(boundary)--\r\n")
        return Made(
            bytes: bytes,
            isEightBit: needsUTF8 || returned.isEightBit,
            needsUTF8: needsUTF8,
            hasLeadingDots: bytes.readableBytesView.hasLeadingDots
        )
    }

    // MARK: Pieces

    private func header(subject: String?, _ boundary: String) -> String {
        """
        From: Mail Delivery System <MAILER-DAEMON@\(me.name)>\r
        To: \(original.sender)\r
        Subject: \(subject ?? standardSubject)\r
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
        }
    }

    private func opening(_ boundary: String) -> String { "\r\n--\(boundary)\r\n" }

    private func fillTemplate() -> (subject: String?, lines: [String]) {
        let first = entries.first
        let template =
            switch kind {
            case .failure: self.template
            case .delay: BounceTemplate.delay
            case .success: BounceTemplate.success
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
                subject: { HarmlessText.line(EncodedWords.decoded(original.subject), limit: 512) },
                extendedReason: {
                    listed("\n") { entry in
                        let address = HarmlessText.line(entry.recipient.address.description, limit: 512)
                        return "\(address): \(HarmlessText.line(entry.reason, limit: 1024))"
                    }
                }
            )
        )
    }

    /// A word for each entry; of many the first ones, and how many more there are.
    private func listed(_ separator: String, _ word: (Entry) -> String) -> String {
        var words = entries.prefix(Self.mostListed).map(word)
        if entries.count > words.count { words.append("and \(entries.count - words.count) more") }
        return words.joined(separator: separator)
    }

    /// A boundary that occurs in none of the parts.
    ///
    /// The salt makes the first try the last one, whatever a sender wrote.
    private func makeBoundary(avoiding parts: [ByteBuffer]) -> String {
        var number = salt
        while true {
            let boundary = "=_\(id)_\(String(number, radix: 36))"
            let needle = Array(boundary.utf8)
            if !parts.contains(where: { $0.readableBytesView.holds(needle) }) { return boundary }
            number = number &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        }
    }
}
