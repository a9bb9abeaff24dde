// ReplyClassifier.swift — why a reply says no: one pure function over code, status, text and phase, driven by a table.
//
// Bounded: a text counts with its first 1024 octets, and each of them is compared with the phrases that begin alike; a rule
// never sees a regular expression. The rules are asked in order, those of the user before ours, and the first that fits wins.

/// The table, ready to be asked.
package final class ReplyClassifier: Sendable, Hashable {
    /// What a reply means, and by which rule.
    package struct Finding: Hashable, Sendable {
        package let replyClass: ReplyClass
        /// Name of the rule; `user/NAME` for one of `bounce_classes.ini`, empty when none fits.
        package let rule: String
    }

    /// Octets of a text that count.
    private static let longestText = 1024

    /// Without rules of the user.
    package static let shipped = ReplyClassifier()

    private let user: [ReplyRule]
    private let rules: [ReplyRule]
    private let phrases: [(rule: Int, phrase: ReplyPhrase)]
    /// By the first two octets: places in `phrases`.
    private let starts: [UInt16: [Int]]

    /// - Parameter user: asked before ours.
    package init(user: [ReplyRule] = []) {
        self.user = user
        rules = user + ReplyRule.shipped
        phrases = rules.enumerated().flatMap { place, rule in rule.phrases.map { (place, $0) } }
        var starts: [UInt16: [Int]] = [:]
        for (place, entry) in phrases.enumerated() {
            let first = entry.phrase.pieces[0]
            starts[UInt16(first[0]) << 8 | UInt16(first[1]), default: []].append(place)
        }
        self.starts = starts
    }

    /// Tells why a reply says no.
    ///
    /// - Parameter stage: how far the attempt had come; nil when nobody knows.
    package func classify(_ reply: Reply, at stage: Failure.Stage? = nil) -> Finding {
        classify(reply.code, reply.givenStatus, reply.lines, at: stage)
    }

    private func classify(
        _ code: UInt16,
        _ status: EnhancedStatus?,
        _ lines: [String],
        at stage: Failure.Stage?
    ) -> Finding {
        let found = rulesFound(in: Self.text(lines))
        for (place, rule) in rules.enumerated() where rule.holds(code, status, stage) {
            if rule.phrases.isEmpty || found[place] {
                return Finding(
                    replyClass: rule.replyClass,
                    rule: place < user.count ? "user/\(rule.name)" : rule.name
                )
            }
        }
        return Finding(replyClass: .other, rule: "")
    }

    /// One line, small letters, every run of blanks one blank: servers break their lines where they like.
    private static func text(_ lines: [String]) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(256)
        for line in lines {
            if !text.isEmpty, text.last != 0x20 { text.append(0x20) }
            for octet in line.utf8 {
                if text.count == longestText { return text }
                let isBlank = octet <= 0x20
                if isBlank, text.isEmpty || text.last == 0x20 { continue }
                text.append(isBlank ? 0x20 : ReplyPhrase.small(octet))
            }
        }
        return text
    }

    /// The rules that have a phrase in the text, by their places.
    private func rulesFound(in text: [UInt8]) -> [Bool] {
        var found = [Bool](repeating: false, count: rules.count)
        guard text.count >= 2 else { return found }
        for place in 0..<(text.count - 1) {
            guard let candidates = starts[UInt16(text[place]) << 8 | UInt16(text[place + 1])] else { continue }
            for candidate in candidates {
                let (rule, phrase) = phrases[candidate]
                if !found[rule], phrase.fits(text, at: place) { found[rule] = true }
            }
        }
        return found
    }

    package static func == (a: ReplyClassifier, b: ReplyClassifier) -> Bool { a === b || a.user == b.user }

    package func hash(into hasher: inout Hasher) { hasher.combine(user) }
}
