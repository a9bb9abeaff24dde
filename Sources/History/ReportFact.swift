// ReportFact.swift — that somebody behind the next hop says something of a message which left long ago: as a value and as bytes.

package import Mail

/// A late bounce, or a complaint.
package struct ReportFact: Hashable, Sendable {
    /// ``EventType/bouncedLate`` or ``EventType/complained``.
    package var type: EventType
    package var time: Timestamp
    package var recipient: String
    /// What the host was told that gave up; nil for a complaint.
    package var words: EventData.Words?
    package var reason: FailureReason?
    /// The host that said so.
    package var host: String?
    /// Who wrote the report.
    package var reporter: String?

    package init(_ type: EventType, of recipient: String, at time: Timestamp) {
        (self.type, self.recipient, self.time) = (type, recipient, time)
    }
}

extension ReportFact {
    /// Of one message: two reports of a kind about a recipient are one, whoever sent them and when.
    package struct Key: Hashable, Sendable {
        let type: EventType
        let recipient: String
    }

    package var key: Key { Key(type: type, recipient: recipient.lowercasedASCII) }
}

extension EventData {
    mutating func add(_ fact: ReportFact) {
        recipient = fact.recipient
        smtp = fact.words
        reason = fact.reason
        mx = fact.host.map { Host(host: $0) }
        subject = fact.reporter
    }
}

/// Layout: type, time, flags, recipient, [code, text], [enhanced], [reason], [host], [reporter].
extension ReportFact {
    private enum Flag {
        static let words: UInt8 = 1
        static let enhanced: UInt8 = 2
        static let reason: UInt8 = 4
        static let host: UInt8 = 8
        static let reporter: UInt8 = 16
    }

    func encode(to writer: inout OctetWriter) {
        writer.put(type.rawValue)
        writer.put(compact: time)
        var flags: UInt8 = 0
        if words != nil { flags |= Flag.words }
        if words?.enhanced != nil { flags |= Flag.enhanced }
        if reason != nil { flags |= Flag.reason }
        if host != nil { flags |= Flag.host }
        if reporter != nil { flags |= Flag.reporter }
        writer.put(flags)
        writer.put(piece: recipient, atMost: 512)
        if let words {
            writer.put(compact: UInt64(words.code))
            writer.put(piece: words.text, atMost: 512)
            if let enhanced = words.enhanced {
                writer.put(enhanced.class)
                writer.put(compact: UInt64(enhanced.subject))
                writer.put(compact: UInt64(enhanced.detail))
            }
        }
        if let reason { writer.put(reason.rawValue) }
        if let host { writer.put(piece: host, atMost: 255) }
        if let reporter { writer.put(piece: reporter, atMost: 255) }
    }

    init(decoding reader: inout StoredReader) throws(Malformed) {
        guard let type = EventType(rawValue: try reader.byte()) else { throw Malformed() }
        self.type = type
        time = try reader.compactTime()
        let flags = try reader.byte()
        recipient = try reader.string()
        if flags & Flag.words != 0 {
            let code = UInt16(clamping: try reader.compact())
            var words = EventData.Words(code: code, text: try reader.string())
            if flags & Flag.enhanced != 0 {
                let level = try reader.byte()
                let subject = UInt16(clamping: try reader.compact())
                words.enhanced = EnhancedStatus(level, subject, UInt16(clamping: try reader.compact()))
            }
            self.words = words
        }
        if flags & Flag.reason != 0 { reason = FailureReason(rawValue: try reader.byte()) ?? .other }
        if flags & Flag.host != 0 { host = try reader.string() }
        if flags & Flag.reporter != 0 { reporter = try reader.string() }
    }
}
