// Envelope+Stored.swift — an envelope as bytes, for the spool and for history.
//
// What is decoded makes sense; a right checksum proves none of that, so nobody reads an envelope but through this.

/// Layout: version 1, flags, [RET], [ENVID], [user], [sender local, domain], count, recipients, [notes].
extension Envelope {
    private enum Flag {
        static let eightBit: UInt8 = 1
        static let utf8: UInt8 = 2
        static let returns: UInt8 = 4
        static let envelopeID: UInt8 = 8
        static let sender: UInt8 = 16
        static let notes: UInt8 = 64
        static let user: UInt8 = 32
        static let requiresTLS: UInt8 = 128
    }

    private enum RecipientFlag {
        static let notify: UInt8 = 1
        static let original: UInt8 = 2
        /// The domain is that of the recipient before; it is not written again.
        static let sameDomain: UInt8 = 4
    }

    /// Appends the stored form.
    package func encode(to bytes: inout [UInt8]) {
        bytes.append(1)
        var flags: UInt8 = 0
        if isEightBit { flags |= Flag.eightBit }
        if needsUTF8 { flags |= Flag.utf8 }
        if returns != nil { flags |= Flag.returns }
        if envelopeID != nil { flags |= Flag.envelopeID }
        if case .address = sender { flags |= Flag.sender }
        if !notes.isEmpty { flags |= Flag.notes }
        if user != nil { flags |= Flag.user }
        if requiresTLS { flags |= Flag.requiresTLS }
        bytes.append(flags)
        if let returns { bytes.append(returns.rawValue) }
        if let envelopeID { bytes.append(string: envelopeID) }
        if let user { bytes.append(string: user) }
        if case .address(let address) = sender {
            bytes.append(string: address.local)
            bytes.append(string: address.domain.name)
        }
        bytes.append(compact: UInt64(recipients.count))
        var previous: Domain?
        for recipient in recipients {
            let domain = recipient.address.domain
            var flags: UInt8 = 0
            if recipient.notify != nil { flags |= RecipientFlag.notify }
            if recipient.original != nil { flags |= RecipientFlag.original }
            // Octet by octet: two names that look alike are two.
            let isSame = previous.map { $0.name.utf8.elementsEqual(domain.name.utf8) } ?? false
            if isSame { flags |= RecipientFlag.sameDomain }
            bytes.append(flags)
            if let notify = recipient.notify { bytes.append(notify.rawValue) }
            if let original = recipient.original { bytes.append(string: original) }
            bytes.append(string: recipient.address.local)
            if !isSame { bytes.append(string: domain.name) }
            previous = domain
        }
        if !notes.isEmpty { notes.encode(to: &bytes) }
    }

    /// Reads the stored form: addresses fit into a command, and there is a recipient.
    package init(decoding reader: inout StoredReader) throws(Malformed) {
        guard try reader.byte() == 1 else { throw Malformed() }
        let flags = try reader.byte()
        var returns: ReturnContent?
        if flags & Flag.returns != 0 {
            guard let known = ReturnContent(rawValue: try reader.byte()) else { throw Malformed() }
            returns = known
        }
        let envelopeID = flags & Flag.envelopeID != 0 ? try reader.plainText() : nil
        let user = flags & Flag.user != 0 ? try reader.string() : nil
        var sender = ReversePath.null
        if flags & Flag.sender != 0 {
            let local = try reader.plainText()
            sender = .address(EmailAddress(local: local, domain: try reader.domain()))
        }
        let count = try reader.count()
        // Mail for nobody would stay for ever.
        guard count > 0 else { throw Malformed() }
        var recipients: [Recipient] = []
        // A recipient takes at least two bytes.
        recipients.reserveCapacity(min(count, reader.remaining / 2))
        for _ in 0..<count {
            recipients.append(try Self.recipient(from: &reader, after: recipients.last?.address.domain))
        }
        try self.init(
            sender: sender,
            recipients: recipients,
            isEightBit: flags & Flag.eightBit != 0,
            needsUTF8: flags & Flag.utf8 != 0,
            returns: returns,
            envelopeID: envelopeID,
            notes: flags & Flag.notes != 0 ? Notes(decoding: &reader) : Notes(),
            user: user,
            requiresTLS: flags & Flag.requiresTLS != 0
        )
    }

    private static func recipient(
        from reader: inout StoredReader,
        after previous: Domain?
    ) throws(Malformed) -> Recipient {
        let flags = try reader.byte()
        let notify = flags & RecipientFlag.notify != 0 ? Notify(rawValue: try reader.byte()) : nil
        let original = flags & RecipientFlag.original != 0 ? try reader.plainText() : nil
        let local = try reader.plainText()
        let domain: Domain
        if flags & RecipientFlag.sameDomain != 0 {
            guard let previous else { throw Malformed() }
            domain = previous
        } else {
            domain = try reader.domain()
        }
        return Recipient(EmailAddress(local: local, domain: domain), notify: notify, original: original)
    }
}
