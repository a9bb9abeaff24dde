// MessageContext.swift — what a message was, as far as its events tell of it; as a value and as bytes.

package import Mail

/// What stands in every event of a message.
///
/// A reference, since it goes from the log through the memory of messages under way into a block and to the counts, and its
/// many texts would be counted at each step.
package final class MessageContext: Sendable {
    /// A recipient and its place in the envelope.
    package struct Recipient: Hashable, Sendable {
        package let place: UInt32
        package let address: String

        package init(_ place: UInt32, _ address: String) {
            self.place = place
            self.address = address
        }
    }

    package let id: QueueID
    package let acceptedAt: Timestamp
    /// Bytes.
    package let size: Int
    /// `<>` is the null sender.
    package let sender: String
    /// Those that are known here, rising by place.
    package let recipients: [Recipient]
    /// Of all.
    package let recipientCount: Int
    package let headerMessageID: String?
    package let tag: String?
    package let user: String?
    package let client: IPAddress?

    package init(
        id: QueueID,
        acceptedAt: Timestamp,
        size: Int,
        sender: String,
        recipients: [Recipient],
        headerMessageID: String? = nil,
        tag: String? = nil,
        user: String? = nil,
        client: IPAddress? = nil
    ) {
        self.id = id
        self.acceptedAt = acceptedAt
        self.size = size
        self.sender = sender
        self.recipients = recipients
        recipientCount = recipients.count
        self.headerMessageID = headerMessageID
        self.tag = tag
        self.user = user
        self.client = client
    }

    /// The same with other recipients.
    private init(_ other: MessageContext, _ recipients: [Recipient]) {
        id = other.id
        acceptedAt = other.acceptedAt
        size = other.size
        sender = other.sender
        self.recipients = recipients
        recipientCount = other.recipientCount
        headerMessageID = other.headerMessageID
        tag = other.tag
        user = other.user
        client = other.client
    }

    /// Bytes that it takes in memory, near enough for a bound.
    package var footprint: Int {
        256 + sender.utf8.count + (headerMessageID?.utf8.count ?? 0) + (tag?.utf8.count ?? 0)
            + recipients.reduce(0) { $0 + 48 + $1.address.utf8.count }
    }

    /// The address of a recipient.
    package func address(_ place: UInt32) -> String? {
        if Int(place) < recipients.count, recipients[Int(place)].place == place {
            return recipients[Int(place)].address
        }
        return recipients.first { $0.place == place }?.address
    }

    /// The same with some of the recipients.
    package func only(_ places: Set<UInt32>) -> MessageContext {
        guard recipients.count > places.count else { return self }
        return MessageContext(self, recipients.filter { places.contains($0.place) })
    }

    /// The same with other addresses of recipients at some places.
    func replacing(_ places: Set<UInt32>, by address: String) -> MessageContext {
        guard !places.isEmpty else { return self }
        return MessageContext(self, recipients.map { places.contains($0.place) ? Recipient($0.place, address) : $0 })
    }

    /// Reads what ``encode(to:)`` wrote.
    init(decoding reader: inout StoredReader) throws(Malformed) {
        id = QueueID(rawValue: try reader.number())
        acceptedAt = try reader.compactTime()
        size = Int(clamping: try reader.compact())
        let flags = try reader.byte()
        sender = try reader.string()
        headerMessageID = flags & 1 != 0 ? try reader.string() : nil
        tag = flags & 2 != 0 ? try reader.string() : nil
        user = flags & 4 != 0 ? try reader.string() : nil
        client = try reader.optionalAddress()
        recipientCount = Int(clamping: try reader.compact())
        var recipients: [Recipient] = []
        for _ in 0..<(try reader.count()) {
            let place = try reader.compact32()
            recipients.append(Recipient(place, try reader.string()))
        }
        self.recipients = recipients
    }
}

extension MessageContext: Hashable {
    package static func == (a: MessageContext, b: MessageContext) -> Bool {
        a === b
            || a.id == b.id && a.acceptedAt == b.acceptedAt && a.size == b.size && a.sender == b.sender
                && a.recipients == b.recipients && a.recipientCount == b.recipientCount
                && a.headerMessageID == b.headerMessageID && a.tag == b.tag && a.user == b.user && a.client == b.client
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(id) }
}

/// Layout: id, time, size, flags, sender, [Message-ID], [tag], [user], client, count of all, count and recipients.
extension MessageContext {
    func encode(to writer: inout OctetWriter) {
        writer.put(number: id.rawValue)
        writer.put(compact: acceptedAt)
        writer.put(compact: UInt64(clamping: size))
        var flags: UInt8 = 0
        if headerMessageID != nil { flags |= 1 }
        if tag != nil { flags |= 2 }
        if user != nil { flags |= 4 }
        writer.put(flags)
        writer.put(piece: sender)
        if let headerMessageID { writer.put(piece: headerMessageID, atMost: 255) }
        if let tag { writer.put(piece: tag, atMost: 255) }
        if let user { writer.put(piece: user, atMost: 255) }
        writer.put(optional: client)
        writer.put(compact: UInt64(recipientCount))
        writer.put(compact: UInt64(recipients.count))
        for recipient in recipients {
            writer.put(compact: UInt64(recipient.place))
            writer.put(piece: recipient.address)
        }
    }
}
