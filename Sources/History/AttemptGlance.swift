// AttemptGlance.swift — an attempt as those see it who only count: read from its bytes without making the texts of it. Pure.
//
// The layout is that of `AttemptFact`; a test holds the two together over random facts.

import Mail

/// What became of some recipients.
struct AttemptGlance: Hashable, Sendable {
    struct Part: Hashable, Sendable {
        var result: AttemptFact.Part.Result
        var recipients: Int
        var reason: FailureReason?
        /// Of the host's name, without the first label.
        var provider: String?
    }

    let time: Timestamp
    let route: String
    var parts: [Part] = []

    /// - Parameter reader: stands behind the count and the kind of the fact.
    init(decoding reader: inout StoredReader) throws(Malformed) {
        time = try reader.compactTime()
        _ = try reader.compact()
        _ = try reader.byte()
        route = try reader.string()
        _ = try reader.piece()
        _ = try reader.piece()  // source
        _ = try reader.byte()
        for _ in 0..<Int(try reader.byte()) {
            _ = try reader.piece()
            _ = try reader.compact()
        }
        for _ in 0..<(try reader.count()) { parts.append(try Part(decoding: &reader)) }
    }

    /// The attempts among facts.
    static func each(of facts: Facts, _ take: (AttemptGlance) -> Void) {
        facts.bytes.withUnsafeBytes { raw in
            var reader = StoredReader(raw)
            while reader.remaining > 0, let body = try? reader.piece() {
                var inner = StoredReader(UnsafeRawBufferPointer(rebasing: body))
                guard (try? inner.compact()) != nil, (try? inner.byte()) == Fact.Kind.attempt,
                    let glance = try? AttemptGlance(decoding: &inner)
                else { continue }
                take(glance)
            }
        }
    }

    /// The hosts of one operator share what stands behind the first label; a name of two labels is one operator's whole.
    static func provider(of host: String) -> String {
        let name = host.utf8
        guard let dot = name.firstIndex(of: UInt8(ascii: ".")) else { return host }
        let rest = name.index(after: dot)
        guard name[rest...].contains(UInt8(ascii: ".")), !name.contains(UInt8(ascii: ":")),
            name.last.map({ $0 > 0x39 }) ?? false
        else { return host }
        return String(host[rest...])
    }
}

extension AttemptGlance.Part {
    init(decoding reader: inout StoredReader) throws(Malformed) {
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
            provider = AttemptGlance.provider(of: try reader.string())
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
}
