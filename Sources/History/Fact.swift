// Fact.swift — what a note in the queue's log tells of events, as values and as bytes.
//
// Guarantees: what is written by one version is read by every later one: a kind or a version that is not known is passed over,
// since each fact stands behind its length. Bounded: a text has 512 bytes at most.

package import Mail

/// A fact in the log.
package enum Fact: Hashable, Sendable {
    /// An attempt at a parcel is over.
    case attempt(AttemptFact)
    /// Somebody did something to a message or to the relay.
    case command(CommandFact)
    /// Somebody else reported what became of a message long after it had left.
    case report(ReportFact)
    /// Nothing but a time, for a note that tells something by itself.
    case time(Timestamp)
}

/// What an attempt came to.
package struct AttemptFact: Hashable, Sendable {
    /// Some recipients that were told the same.
    package struct Part: Hashable, Sendable {
        /// What became of them.
        package enum Result: UInt8, Hashable, Sendable {
            case delivered = 0
            case deferred, bounced, suppressed
        }

        package var result: Result
        /// Places in the envelope.
        package var recipients: [UInt32]
        package var words: EventData.Words
        package var host: EventData.Host?
        package var tls: ChannelSecurity?
        package var reason: FailureReason?
        package var next: Timestamp?
        package var mayBeDuplicate = false

        package init(_ result: Result, _ recipients: [UInt32], _ words: EventData.Words) {
            self.result = result
            self.recipients = recipients
            self.words = words
        }
    }

    package var time: Timestamp
    /// From 1 on.
    package var attempt: Int
    package var lane: LaneName
    /// Where the session came from.
    package var source: IPAddress?
    /// Milliseconds, where they are known.
    package var stages: [EventData.Stage] = []
    package var parts: [Part]
    /// Reports that are on the disk.
    package var reports: Reports = []

    /// Kinds of reports to the sender.
    package struct Reports: OptionSet, Hashable, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        package static let failure = Reports(rawValue: 1)
        package static let delay = Reports(rawValue: 2)
        package static let success = Reports(rawValue: 4)

        /// How many there are.
        var count: Int { intersection([.failure, .delay, .success]).rawValue.nonzeroBitCount }

        /// Their words, in the order of their events.
        var names: [String] {
            [(Reports.failure, "failure"), (.delay, "delay"), (.success, "success")].filter { contains($0.0) }.map(\.1)
        }
    }

    package init(at time: Timestamp, attempt: Int, lane: LaneName, parts: [Part] = []) {
        self.time = time
        self.attempt = attempt
        self.lane = lane
        self.parts = parts
    }
}

/// What somebody did.
package struct CommandFact: Hashable, Sendable {
    package var type: EventType
    package var time: Timestamp
    package var actor: String?
    package var subject: String?
    package var text: String?
    package var until: Timestamp?
    package var count: Int?

    package init(_ type: EventType, at time: Timestamp) {
        self.type = type
        self.time = time
    }
}

extension Facts {
    /// A fact as a note has it.
    package init(_ fact: Fact) {
        var bytes: [UInt8] = []
        bytes.composePiece(Self.usual) { fact.encode(to: &$0) }
        self.init(bytes)
    }

    /// Octets of nearly every fact.
    private static let usual = 384

    /// How many events they become.
    package var eventCount: Int { bytes.withUnsafeBytes(Self.eventCount) }

    /// Of one fact: more than a message has recipients; whoever says more is wrong.
    private static let mostEvents: UInt64 = 10_000_000

    static func eventCount(_ raw: UnsafeRawBufferPointer) -> Int {
        var reader = StoredReader(raw)
        var count = 0
        while reader.remaining > 0, let body = try? reader.piece() {
            var inner = StoredReader(UnsafeRawBufferPointer(rebasing: body))
            count += Int(min((try? inner.compact()) ?? 0, mostEvents))
        }
        return count
    }

    /// The facts that are understood, in order; the events of one that is not are missing.
    package var decoded: [Fact] {
        bytes.withUnsafeBytes { raw in
            var reader = StoredReader(raw)
            var facts: [Fact] = []
            while reader.remaining > 0, let body = try? reader.piece() {
                var inner = StoredReader(UnsafeRawBufferPointer(rebasing: body))
                if let fact = try? Fact(decoding: &inner) { facts.append(fact) }
            }
            return facts
        }
    }
}

// MARK: - Bytes

extension Fact {
    enum Kind {
        static let attempt: UInt8 = 1
        static let command: UInt8 = 2
        static let time: UInt8 = 3
        static let report: UInt8 = 4
    }

    /// How many events it becomes.
    var eventCount: Int {
        switch self {
        case .attempt(let attempt):
            attempt.parts.reduce(attempt.reports.count) { $0 + $1.recipients.count }
        case .command, .report: 1
        case .time: 0
        }
    }

    /// The number of events stands in front, for those who only count.
    func encode(to writer: inout OctetWriter) {
        writer.put(compact: UInt64(eventCount))
        switch self {
        case .attempt(let attempt):
            writer.put(Kind.attempt)
            attempt.encode(to: &writer)
        case .command(let command):
            writer.put(Kind.command)
            command.encode(to: &writer)
        case .time(let time):
            writer.put(Kind.time)
            writer.put(compact: time)
        case .report(let report):
            writer.put(Kind.report)
            report.encode(to: &writer)
        }
    }

    init(decoding reader: inout StoredReader) throws(Malformed) {
        _ = try reader.compact()
        switch try reader.byte() {
        case Kind.attempt: self = .attempt(try AttemptFact(decoding: &reader))
        case Kind.command: self = .command(try CommandFact(decoding: &reader))
        case Kind.time: self = .time(try reader.compactTime())
        case Kind.report: self = .report(try ReportFact(decoding: &reader))
        default: throw Malformed()
        }
    }
}

/// Layout: time, attempt, lane, source, reports, count and stages, count and parts.
extension AttemptFact {
    func encode(to writer: inout OctetWriter) {
        writer.put(compact: time)
        writer.put(compact: UInt64(clamping: attempt))
        lane.encode(to: &writer)
        writer.put(optional: source)
        writer.put(reports.rawValue)
        writer.put(UInt8(min(stages.count, 15)))
        for stage in stages.prefix(15) {
            writer.put(piece: stage.name)
            writer.put(compact: UInt64(clamping: stage.milliseconds))
        }
        writer.put(compact: UInt64(parts.count))
        for part in parts { part.encode(to: &writer) }
    }

    init(decoding reader: inout StoredReader) throws(Malformed) {
        time = try reader.compactTime()
        attempt = Int(clamping: try reader.compact())
        lane = try LaneName(decoding: &reader)
        source = try reader.optionalAddress()
        reports = Reports(rawValue: try reader.byte())
        for _ in 0..<Int(try reader.byte()) {
            stages.append(EventData.Stage(try reader.string(), Int64(clamping: try reader.compact())))
        }
        parts = []
        for _ in 0..<(try reader.count()) { parts.append(try Part(decoding: &reader)) }
    }
}

/// Layout: result and flags, recipients as differences, code, [enhanced], text, [stage], [host, ip, port, source], [TLS],
/// [reason], [next].
extension AttemptFact.Part {
    enum Flag {
        static let enhanced: UInt8 = 4
        static let host: UInt8 = 8
        static let tls: UInt8 = 16
        static let failure: UInt8 = 32
        static let duplicate: UInt8 = 64
    }

    func encode(to writer: inout OctetWriter) {
        var flags = result.rawValue
        if words.enhanced != nil { flags |= Flag.enhanced }
        if host != nil { flags |= Flag.host }
        if tls != nil { flags |= Flag.tls }
        if reason != nil { flags |= Flag.failure }
        if mayBeDuplicate { flags |= Flag.duplicate }
        writer.put(flags)
        writer.put(compact: UInt64(recipients.count))
        for recipient in recipients { writer.put(compact: UInt64(recipient)) }
        writer.put(compact: UInt64(words.code))
        if let enhanced = words.enhanced {
            writer.put(enhanced.class)
            writer.put(compact: UInt64(enhanced.subject))
            writer.put(compact: UInt64(enhanced.detail))
        }
        writer.put(piece: words.text, atMost: 512)
        if let host {
            writer.put(piece: host.host, atMost: 255)
            writer.put(optional: host.ip)
            writer.put(compact: UInt64(host.port ?? 0))
        }
        if let tls {
            writer.put(tls.trust.rawValue)
            writer.put(piece: tls.version)
            writer.put(piece: tls.cipher)
        }
        guard let reason else { return }
        writer.put(reason.rawValue)
        writer.put(piece: words.stage ?? "")
        writer.put(compact: next ?? Timestamp(milliseconds: 0))
    }

    init(decoding reader: inout StoredReader) throws(Malformed) {
        let flags = try reader.byte()
        result = Result(rawValue: flags & 3) ?? .deferred
        recipients = []
        for _ in 0..<(try reader.count()) { recipients.append(try reader.compact32()) }
        words = EventData.Words(code: UInt16(clamping: try reader.compact()), text: "")
        if flags & Flag.enhanced != 0 {
            let level = try reader.byte()
            let subject = UInt16(clamping: try reader.compact())
            words.enhanced = EnhancedStatus(level, subject, UInt16(clamping: try reader.compact()))
        }
        words.text = try reader.string()
        if flags & Flag.host != 0 {
            let name = try reader.string()
            let ip = try reader.optionalAddress()
            let port = UInt16(clamping: try reader.compact())
            host = EventData.Host(host: name, ip: ip, port: port == 0 ? nil : port)
        }
        if flags & Flag.tls != 0 {
            let trust = ChannelSecurity.Trust(rawValue: try reader.byte()) ?? .none
            let version = try reader.string()
            tls = ChannelSecurity(version: version, cipher: try reader.string(), trust: trust)
        }
        mayBeDuplicate = flags & Flag.duplicate != 0
        guard flags & Flag.failure != 0 else { return }
        reason = FailureReason(rawValue: try reader.byte()) ?? .other
        let stage = try reader.string()
        words.stage = stage.isEmpty ? nil : stage
        let time = try reader.compactTime()
        next = time.milliseconds == 0 ? nil : time
    }
}

/// Layout: type, time, flags, [actor], [subject], [text], [until], [count].
extension CommandFact {
    func encode(to writer: inout OctetWriter) {
        writer.put(type.rawValue)
        writer.put(compact: time)
        var flags: UInt8 = 0
        if actor != nil { flags |= 1 }
        if subject != nil { flags |= 2 }
        if text != nil { flags |= 4 }
        if until != nil { flags |= 8 }
        if count != nil { flags |= 16 }
        writer.put(flags)
        for text in [actor, subject, text] { if let text { writer.put(piece: text, atMost: 512) } }
        if let until { writer.put(compact: until) }
        if let count { writer.put(compact: UInt64(clamping: count)) }
    }

    init(decoding reader: inout StoredReader) throws(Malformed) {
        guard let type = EventType(rawValue: try reader.byte()) else { throw Malformed() }
        self.type = type
        time = try reader.compactTime()
        let flags = try reader.byte()
        if flags & 1 != 0 { actor = try reader.string() }
        if flags & 2 != 0 { subject = try reader.string() }
        if flags & 4 != 0 { text = try reader.string() }
        if flags & 8 != 0 { until = try reader.compactTime() }
        if flags & 16 != 0 { count = Int(clamping: try reader.compact()) }
    }
}
