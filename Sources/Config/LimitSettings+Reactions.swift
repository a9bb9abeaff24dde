// LimitSettings+Reactions.swift — `[reaction NAME]` of `limits.ini`.

import Mail

extension LimitSettings {
    private static let reactionKeys = ["when", "threshold", "do"]
    /// Replies that one reaction counts at most, so that it remembers few times.
    private static let mostCounted = 1000

    /// The name of a section that is a reaction.
    static func reactionName(_ section: String) -> String? {
        guard let rest = section.rest(behind: "reaction ") else { return nil }
        let name = String(rest.utf8.drop { $0 == 0x20 }) ?? ""
        return (1...64).contains(name.utf8.count) ? name : nil
    }

    /// Reads one; says what is wrong with it.
    static func reaction(
        _ name: String,
        _ section: INIDocument.Block,
        _ report: inout SectionReport,
        _ isKind: (String) -> Bool
    ) -> Reaction? {
        let errors = report.count
        var (when, threshold, pause): ([ReplyPattern], (Int, Int), Int?) = ([], (1, 3600), nil)
        for entry in section.entries {
            do throws(ValueError) {
                switch entry.key {
                case "when": when += try patterns(entry.value, isKind)
                case "threshold": threshold = try self.threshold(entry.value)
                case "do": pause = try self.pause(entry.value)
                default:
                    let hint = NearestName.hint(for: entry.key, among: reactionKeys)
                    throw ValueError("unknown key \(ValueParsing.shown(entry.key))\(hint)")
                }
            } catch {
                report.fail(entry.line, error.reason)
            }
        }
        if report.count > errors { return nil }
        guard !when.isEmpty, let pause else {
            report.fail(section.line, "[reaction \(ValueParsing.shown(name))] has no \(when.isEmpty ? "when" : "do")")
            return nil
        }
        return Reaction(
            name: name,
            when: when,
            count: threshold.0,
            window: Int64(threshold.1) * 1000,
            pause: Int64(pause) * 1000,
            origin: "\(file):\(section.line)"
        )
    }

    private static func patterns(_ text: String, _ isKind: (String) -> Bool) throws(ValueError) -> [ReplyPattern] {
        var patterns: [ReplyPattern] = []
        for piece in ValueParsing.list(text) {
            guard let pattern = ReplyPattern(String(piece), isKind: isKind) else {
                throw ValueError(
                    "\"\(ValueParsing.shown(piece))\" is no pattern of replies such as 5.7.*, 4.2.1, 421, 45* or rate_limited"
                )
            }
            patterns.append(pattern)
        }
        return patterns
    }

    /// `3/1h`.
    private static func threshold(_ text: String) throws(ValueError) -> (Int, Int) {
        let parts = text.split(octet: "/", omittingEmpty: false).map { String($0) }
        guard parts.count == 2 else {
            throw ValueError("\"\(ValueParsing.shown(text))\" is not so many replies in so long, such as 3/1h")
        }
        return (try ValueParsing.count(parts[0], 1...mostCounted), try ValueParsing.duration(parts[1], 1...604_800))
    }

    /// `pause 30m`.
    private static func pause(_ text: String) throws(ValueError) -> Int {
        let words = text.words.map(String.init)
        guard words.count == 2, words[0].isSame(octets: "pause") else {
            throw ValueError(
                "\"\(ValueParsing.shown(text))\" is not what a reaction does: pause and a time, such as pause 30m"
            )
        }
        return try ValueParsing.duration(words[1], 1...604_800)
    }
}
