// ReplyRule.swift — one line of the table that tells why a reply says no: what must be there, and the class it means.

/// A rule; every condition that is given must hold.
package struct ReplyRule: Hashable, Sendable {
    /// A reply code, or all of a hundred.
    package struct Code: Hashable, Sendable {
        private let low: UInt16
        private let high: UInt16

        /// Reads `550` or `5xx`.
        package init?(_ text: some StringProtocol) {
            let octets = Array(text.utf8)
            guard octets.count == 3, (0x34...0x35).contains(octets[0]) else { return nil }
            let hundred = UInt16(octets[0] - 0x30) * 100
            if octets[1] | 0x20 == UInt8(ascii: "x"), octets[2] | 0x20 == UInt8(ascii: "x") {
                (low, high) = (hundred, hundred + 99)
            } else {
                guard octets[1] &- 0x30 <= 9, octets[2] &- 0x30 <= 9 else { return nil }
                low = hundred + UInt16(octets[1] - 0x30) * 10 + UInt16(octets[2] - 0x30)
                high = low
            }
        }

        func fits(_ code: UInt16) -> Bool { low <= code && code <= high }
    }

    /// An enhanced status; what is nil may be anything.
    package struct Status: Hashable, Sendable {
        private let level: UInt8?
        private let subject: UInt16?
        private let detail: UInt16?

        /// Reads `5.1.1`, `x.1.1` or `5.7.x`.
        package init?(_ text: some StringProtocol) {
            let parts = text.split(octet: ".", omittingEmpty: false)
            guard parts.count == 3 else { return nil }
            func isAny(_ part: Substring) -> Bool { part.isSame(octets: "x") || part.isSame(octets: "X") }
            func number(_ part: Substring) -> UInt16? {
                guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ $0 &- 0x30 <= 9 }) else { return nil }
                return UInt16(part)
            }
            let numbers = parts.map(number)
            for (part, number) in zip(parts, numbers) where number == nil && !isAny(part) { return nil }
            if let level = numbers[0], level != 4, level != 5 { return nil }
            level = numbers[0].map { UInt8($0) }
            subject = numbers[1]
            detail = numbers[2]
        }

        func fits(_ status: EnhancedStatus?) -> Bool {
            guard let status else { return false }
            return (level.map { $0 == status.class } ?? true) && (subject.map { $0 == status.subject } ?? true)
                && (detail.map { $0 == status.detail } ?? true)
        }
    }

    /// What the rule is called when somebody asks why.
    package let name: String
    package let replyClass: ReplyClass
    /// One of these; empty: any.
    package let codes: [Code]
    /// One of these; empty: any, and none at all.
    package let statuses: [Status]
    /// How far the attempt had come: one of these; empty: anywhere.
    package let stages: Set<Failure.Stage>
    /// One of these stands in the text; empty: whatever it says.
    package let phrases: [ReplyPhrase]

    package init(
        _ name: String,
        _ replyClass: ReplyClass,
        codes: [Code] = [],
        statuses: [Status] = [],
        stages: Set<Failure.Stage> = [],
        phrases: [ReplyPhrase] = []
    ) {
        self.name = name
        self.replyClass = replyClass
        self.codes = codes
        self.statuses = statuses
        self.stages = stages
        self.phrases = phrases
    }

    /// Whether everything but the text holds.
    func holds(_ code: UInt16, _ status: EnhancedStatus?, _ stage: Failure.Stage?) -> Bool {
        if !codes.isEmpty, !codes.contains(where: { $0.fits(code) }) { return false }
        if !statuses.isEmpty, !statuses.contains(where: { $0.fits(status) }) { return false }
        if !stages.isEmpty {
            guard let stage, stages.contains(stage) else { return false }
        }
        return true
    }
}

/// Words that are looked for in a reply: octets, the case of ASCII letters does not matter; `*` stands for anything between,
/// `^` in front for the beginning of the text.
package struct ReplyPhrase: Hashable, Sendable {
    /// In the order they must come in; in small letters.
    let pieces: [[UInt8]]
    let isAtStart: Bool

    /// Reads a phrase.
    ///
    /// - Returns: nil when nothing is left to look for, or it is longer than 200 bytes.
    package init?(_ text: some StringProtocol) {
        var octets = Array(text.utf8)
        guard octets.count <= 200 else { return nil }
        isAtStart = octets.first == UInt8(ascii: "^")
        if isAtStart { octets.removeFirst() }
        pieces = octets.split(separator: UInt8(ascii: "*")).map { $0.map(Self.small) }
        // One octet alone says nothing, and would be looked for everywhere.
        guard let first = pieces.first, first.count >= 2 else { return nil }
    }

    static func small(_ octet: UInt8) -> UInt8 { octet &- 0x41 < 26 ? octet | 0x20 : octet }

    /// Whether the phrase stands at a place where its first two octets do.
    func fits(_ text: [UInt8], at place: Int) -> Bool {
        if isAtStart, place != 0 { return false }
        var position = place
        for (index, piece) in pieces.enumerated() {
            if index == 0 {
                guard Self.stands(piece, in: text, at: position) else { return false }
                position += piece.count
            } else {
                guard position <= text.count - piece.count,
                    let found = (position...(text.count - piece.count)).first(where: {
                        Self.stands(piece, in: text, at: $0)
                    })
                else { return false }
                position = found + piece.count
            }
        }
        return true
    }

    private static func stands(_ piece: [UInt8], in text: [UInt8], at place: Int) -> Bool {
        guard place + piece.count <= text.count else { return false }
        for offset in piece.indices where text[place + offset] != piece[offset] { return false }
        return true
    }
}
