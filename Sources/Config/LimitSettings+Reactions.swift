// LimitSettings+Reactions.swift — `[reaction NAME]` of `limits.ini`.

import Mail

extension LimitSettings {
    private static let reactionKeys = ["when", "threshold", "do", "about"]
    /// Replies that one reaction counts at most, so that it remembers few times.
    private static let mostCounted = 1000
    /// Milliseconds for which an address is left alone where no time is said.
    private static let usualAvoidance: Int64 = 3_600_000

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
        var (when, threshold, deed): ([ReplyPattern], (Int, Int), Deed?) = ([], (1, 3600), nil)
        var about = Subject.reply
        for entry in section.entries {
            do throws(ValueError) {
                switch entry.key {
                case "when": when += try patterns(entry.value, isKind)
                case "threshold": threshold = try self.threshold(entry.value)
                case "do": deed = try self.deed(entry.value)
                case "about": about = try subject(entry.value)
                default:
                    let hint = NearestName.hint(for: entry.key, among: reactionKeys)
                    throw ValueError("unknown key \(ValueParsing.shown(entry.key))\(hint)")
                }
            } catch {
                report.fail(entry.line, error.reason)
            }
        }
        if report.count > errors { return nil }
        guard !when.isEmpty, let deed else {
            report.fail(section.line, "[reaction \(ValueParsing.shown(name))] has no \(when.isEmpty ? "when" : "do")")
            return nil
        }
        if case .otherSource = deed, about == .sender || about == .user {
            report.fail(
                section.line,
                "[reaction \(ValueParsing.shown(name))] does other_source, which is about lane or provider, not \(about.rawValue)"
            )
            return nil
        }
        return Reaction(
            name: name,
            when: when,
            count: threshold.0,
            window: Int64(threshold.1) * 1000,
            deed: deed,
            about: about,
            origin: "\(file):\(section.line)"
        )
    }

    private static func patterns(_ text: String, _ isKind: (String) -> Bool) throws(ValueError) -> [ReplyPattern] {
        var patterns: [ReplyPattern] = []
        for piece in try pieces(text) {
            if piece.utf8.first == UInt8(ascii: "/") {
                do throws(BytePattern.Mistake) {
                    patterns.append(.text(try BytePattern(String(piece.utf8.dropFirst().dropLast()) ?? "")))
                } catch {
                    throw ValueError(error.reason)
                }
                continue
            }
            guard let pattern = ReplyPattern(piece, isKind: isKind) else {
                throw ValueError(
                    "\"\(ValueParsing.shown(piece))\" is no pattern of replies such as 5.7.*, 4.2.1, 421, 45*, rate_limited or "
                        + "/too many messages/"
                )
            }
            patterns.append(pattern)
        }
        return patterns
    }

    /// Separated by commas that stand in no regular expression.
    private static func pieces(_ text: String) throws(ValueError) -> [String] {
        var pieces: [String] = []
        var rest = Substring(text)[...]
        while true {
            rest = rest.trimmedStart
            guard let first = rest.utf8.first else { return pieces }
            var end = rest.utf8.startIndex
            if first == UInt8(ascii: "/") {
                end = rest.utf8.index(after: end)
                while end < rest.utf8.endIndex, rest.utf8[end] != UInt8(ascii: "/") {
                    let isEscape = rest.utf8[end] == UInt8(ascii: "\\")
                    end = rest.utf8.index(after: end)
                    if isEscape, end < rest.utf8.endIndex { end = rest.utf8.index(after: end) }
                }
                guard end < rest.utf8.endIndex else {
                    throw ValueError("a regular expression ends with / as it begins")
                }
                end = rest.utf8.index(after: end)
            } else {
                end = rest.utf8.firstIndex(of: UInt8(ascii: ",")) ?? rest.utf8.endIndex
            }
            pieces.append(String(rest[..<end].trimmed))
            rest = rest[end...].trimmedStart
            guard let comma = rest.utf8.first else { return pieces }
            guard comma == UInt8(ascii: ",") else {
                throw ValueError("\"\(ValueParsing.shown(rest))\" stands behind a pattern without a comma")
            }
            rest = rest[rest.utf8.index(after: rest.utf8.startIndex)...]
        }
    }

    /// `3/1h`.
    private static func threshold(_ text: String) throws(ValueError) -> (Int, Int) {
        let parts = text.split(octet: "/", omittingEmpty: false).map { String($0) }
        guard parts.count == 2 else {
            throw ValueError("\"\(ValueParsing.shown(text))\" is not so many replies in so long, such as 3/1h")
        }
        return (try ValueParsing.count(parts[0], 1...mostCounted), try ValueParsing.duration(parts[1], 1...604_800))
    }

    private static func subject(_ text: String) throws(ValueError) -> Subject {
        if let subject = Subject(rawValue: text) { return subject }
        let words = Subject.allCases.map(\.rawValue).joined(separator: ", ")
        throw ValueError("\"\(ValueParsing.shown(text))\" is none of \(words)")
    }

    /// `slow 50% floor 1/m recover 10% every 10m`, `connections 1 every 10m`, `pause 30m`, `park_sender 2h`, `bounce`, `defer 1h`.
    private static func deed(_ text: String) throws(ValueError) -> Deed {
        let words = text.words.map(String.init)
        let rest = Array(words.dropFirst())
        switch (words.first ?? "", rest.count) {
        case ("slow", 1...): return .slow(try slope(rest))
        case ("connections", 1), ("connections", 3):
            var slope = Slope()
            if rest.count == 3 { try add(rest[1], rest[2], to: &slope, ["every"]) }
            return .connections(try ValueParsing.count(rest[0], 1...10_000), slope)
        case ("other_source", 0): return .otherSource(usualAvoidance)
        case ("other_source", 1): return .otherSource(try time(rest[0]))
        case ("pause", 1): return .pause(try time(rest[0]))
        case ("park_sender", 0): return .parkSender(nil)
        case ("park_sender", 1): return .parkSender(try time(rest[0]))
        case ("bounce", 0): return .bounce
        case ("defer", 1): return .delay(try time(rest[0]))
        default:
            throw ValueError(
                "\"\(ValueParsing.shown(text))\" is not what a reaction does: slow 50% floor 1/m recover 10% every 10m, connections 1, "
                    + "other_source 30m, pause 30m, park_sender, park_sender 2h, bounce or defer 1h"
            )
        }
    }

    private static func time(_ text: String) throws(ValueError) -> Int64 {
        Int64(try ValueParsing.duration(text, 1...604_800)) * 1000
    }

    private static func slope(_ words: [String]) throws(ValueError) -> Slope {
        var slope = Slope(left: try percent(words[0], 1...99))
        let pairs = words.dropFirst()
        guard pairs.count % 2 == 0 else {
            throw ValueError("slow 50% is followed by floor, recover and every, each with a value")
        }
        var index = pairs.startIndex
        while index < pairs.endIndex {
            try add(pairs[index], pairs[index + 1], to: &slope, ["floor", "recover", "every"])
            index += 2
        }
        return slope
    }

    private static func add(
        _ word: String,
        _ value: String,
        to slope: inout Slope,
        _ known: [String]
    ) throws(ValueError) {
        guard known.contains(where: { $0.isSame(octets: word) }) else {
            throw ValueError("\"\(ValueParsing.shown(word))\" is not \(known.joined(separator: ", "))")
        }
        switch word {
        case "floor": slope.floor = max(1, try rate(value).perHour)
        case "recover": slope.step = try percent(value, 1...100)
        default: slope.every = try time(value)
        }
    }

    /// `50%`.
    private static func percent(_ text: String, _ range: ClosedRange<Int>) throws(ValueError) -> Int {
        guard text.utf8.last == UInt8(ascii: "%"), let number = ValueParsing.digits(Substring(text.utf8.dropLast())),
            range.contains(number)
        else {
            throw ValueError(
                "\"\(ValueParsing.shown(text))\" is not from \(range.lowerBound)% to \(range.upperBound)%"
            )
        }
        return number
    }
}
