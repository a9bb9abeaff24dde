// AttemptGlance.swift — an attempt as those see it who only count: read from its bytes without making the texts of it. Pure.
//
// The layout is that of `AttemptFact`; a test holds the two together over random facts.

import Mail

/// What an attempt came to for some recipients.
///
/// Its texts are octets of the fact: good while they are shown, and no longer.
struct AttemptGlance {
    let time: Timestamp
    let route: UnsafeRawBufferPointer
    private(set) var result = AttemptFact.Part.Result.deferred
    private(set) var recipients = 0
    private(set) var reason: FailureReason?
    /// Of the host's name, without the first label.
    private(set) var provider: UnsafeRawBufferPointer?

    /// The parts of the attempts among facts.
    static func each(of facts: Facts, _ take: (AttemptGlance) -> Void) {
        facts.bytes.withUnsafeBytes { raw in
            var reader = StoredReader(raw)
            while reader.remaining > 0, let body = try? reader.piece() {
                var inner = StoredReader(UnsafeRawBufferPointer(rebasing: body))
                guard (try? inner.compact()) != nil, (try? inner.byte()) == Fact.Kind.attempt else { continue }
                try? parts(&inner, take)
            }
        }
    }

    /// - Parameter reader: stands behind the count and the kind of the fact.
    private static func parts(_ reader: inout StoredReader, _ take: (AttemptGlance) -> Void) throws(Malformed) {
        let time = try reader.compactTime()
        _ = try reader.compact()
        _ = try reader.byte()
        let route = UnsafeRawBufferPointer(rebasing: try reader.piece())
        _ = try reader.piece()
        _ = try reader.piece()  // source
        _ = try reader.byte()
        for _ in 0..<Int(try reader.byte()) {
            _ = try reader.piece()
            _ = try reader.compact()
        }
        for _ in 0..<(try reader.count()) {
            var part = AttemptGlance(time: time, route: route)
            try part.read(&reader)
            take(part)
        }
    }

    private init(time: Timestamp, route: UnsafeRawBufferPointer) {
        self.time = time
        self.route = route
    }

    private mutating func read(_ reader: inout StoredReader) throws(Malformed) {
        typealias Flag = AttemptFact.Part.Flag
        let flags = try reader.byte()
        result = AttemptFact.Part.Result(rawValue: flags & 3) ?? .deferred
        recipients = try reader.count()
        for _ in 0..<recipients { _ = try reader.compact() }
        _ = try reader.compact()
        if flags & Flag.enhanced != 0 {
            _ = try reader.byte()
            _ = try reader.compact()
            _ = try reader.compact()
        }
        _ = try reader.piece()
        if flags & Flag.host != 0 {
            provider = Self.provider(of: UnsafeRawBufferPointer(rebasing: try reader.piece()))
            _ = try reader.piece()
            _ = try reader.compact()
        }
        if flags & Flag.tls != 0 {
            _ = try reader.byte()
            _ = try reader.piece()
            _ = try reader.piece()
        }
        guard flags & Flag.failure != 0 else { return }
        reason = FailureReason(rawValue: try reader.byte()) ?? .other
        _ = try reader.piece()
        _ = try reader.compact()
    }

    /// The hosts of one operator share what stands behind the first label; a name of two labels is one operator's whole.
    static func provider(of host: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard let dot = host.firstIndex(of: UInt8(ascii: ".")) else { return host }
        let rest = UnsafeRawBufferPointer(rebasing: host[(dot + 1)...])
        guard rest.contains(UInt8(ascii: ".")), !host.contains(UInt8(ascii: ":")), let last = host.last, last > 0x39
        else { return host }
        return rest
    }
}
