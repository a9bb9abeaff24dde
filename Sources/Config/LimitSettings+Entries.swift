// LimitSettings+Entries.swift — `[in login …]`, `[in network …]`, `[in sender_domain …]`, `[in listener …]` of `limits.ini`: mail
// that comes in.

import Mail

extension LimitSettings {
    /// The shortest and the longest window, seconds.
    private static let windows = 1...31 * 86_400
    /// Windows of one measure.
    private static let mostWindows = 8
    /// A share is one of so many recipients at least, where the file does not say.
    private static let usualLeast = 20

    /// What stands behind `in` in the name of a section; nil for another section.
    static func entryName(_ section: String) -> String? {
        section.rest(behind: "in ").map { String($0.utf8.drop { $0 == 0x20 }) ?? "" }
    }

    /// Whose mail a section is about; nil for what has no such name.
    static func entryScope(_ word: String, _ name: String) -> EntryScope? {
        guard EntryScope.words.contains(where: { $0.isSame(octets: word) }), let scope = EntryScope(word, name) else {
            return nil
        }
        if case .listener(let name) = scope, !Whose.isName(name) { return nil }
        return scope
    }

    /// Reads one; says what is wrong with it.
    static func entry(
        _ text: String,
        _ section: INIDocument.Block,
        _ report: inout SectionReport,
        into rules: inout EntryRules
    ) {
        let words = text.utf8.split(maxSplits: 1) { $0 == 0x20 || $0 == 0x09 }.map { String(Substring($0)) }
        let word = words.first ?? ""
        let name = words.count > 1 ? String(words[1].utf8.drop { $0 == 0x20 || $0 == 0x09 }) ?? "" : ""
        let isAny = name.isSame(octets: "*")
        let scope = entryScope(word, name)
        guard EntryScope.words.contains(where: { $0.isSame(octets: word) }), isAny || scope != nil else {
            return report.fail(
                section.line,
                "[in \(ValueParsing.shown(text))] is not login, network, sender_domain or listener with what it should be; for example "
                    + "[in login app], [in login *], [in network 192.0.2.0/24], [in sender_domain example.org], [in listener inside]"
            )
        }
        guard report.isFirst("in \(isAny ? text : scope?.description ?? text)", section.line) else { return }
        let errors = report.count
        var terms = EntryTerms()
        for entry in section.entries {
            do throws(ValueError) {
                try read(entry, word, into: &terms)
                terms.origins[entry.key] = "\(file):\(entry.line)"
            } catch {
                report.fail(entry.line, error.reason)
            }
        }
        guard report.count == errors else { return }
        if isAny { rules.add(terms, forAll: word) } else if let scope { rules.add(terms, for: scope) }
    }

    private static func read(
        _ entry: INIDocument.Entry,
        _ word: String,
        into terms: inout EntryTerms
    ) throws(ValueError) {
        if let measure = EntryMeasure(rawValue: entry.key) {
            guard !measure.isOfLogins || word.isSame(octets: "login") else {
                throw ValueError("\(measure.rawValue) is about logins")
            }
            terms.limits[measure] = try limits(entry.value, measure)
            return
        }
        switch EntryTerms.Key(rawValue: entry.key) {
        case .then:
            terms.then = try action(entry.value)
            if case .park? = terms.then, !word.isSame(octets: "login") {
                throw ValueError("only a login can be parked")
            }
        case .together:
            guard word.isSame(octets: "network") else { throw ValueError("together is about networks") }
            terms.isTogether = try ValueParsing.boolean(entry.value)
        case nil:
            let names = EntryMeasure.allCases.map(\.rawValue) + EntryTerms.Key.allCases.map(\.rawValue)
            let hint = NearestName.hint(for: entry.key, among: names)
            throw ValueError("unknown key \(ValueParsing.shown(entry.key))\(hint)")
        }
    }

    /// `20/m, 200/h, 1k/d`; `10%/d from 100`; `1k`; `none`.
    private static func limits(_ text: String, _ measure: EntryMeasure) throws(ValueError) -> [EntryLimit] {
        if text.isSame(octets: "none") { return [] }
        if measure.isOfWaiting {
            let most = measure == .waitingBytes ? try ValueParsing.byteSize(text, 1...1 << 50) : try count(text)
            return [EntryLimit(most, window: 0, text: text)]
        }
        var limits: [EntryLimit] = []
        // The words of a share stand together.
        let pieces = measure == .bounces ? text.split(octet: ",").map { $0.trimmed } : ValueParsing.list(text)
        for piece in pieces { limits.append(try limit(piece, measure)) }
        guard (1...mostWindows).contains(limits.count) else {
            throw ValueError("is one limit to \(mostWindows), or none")
        }
        guard Set(limits.map(\.window)).count == limits.count else { throw ValueError("names the same time twice") }
        return limits
    }

    /// `200/h`, `10%/d from 100`.
    private static func limit(_ piece: some StringProtocol, _ measure: EntryMeasure) throws(ValueError) -> EntryLimit {
        let example =
            switch measure {
            case .bytes: "100M/d"
            case .bounces: "10%/d, 10%/d from 100"
            default: "20/m, 200/h, 5k/d"
            }
        let complaint = ValueError("\"\(ValueParsing.shown(piece))\" is not so many in so long, such as \(example)")
        var words = piece.words.map { String($0) }
        var least = 1
        if measure == .bounces {
            least = usualLeast
            if words.count == 3, words[1].isSame(octets: "from") {
                guard let number = try? count(words[2]) else { throw complaint }
                least = number
                words = [words[0]]
            }
        }
        let parts = words.count == 1 ? words[0].split(octet: "/", omittingEmpty: false).map { String($0) } : []
        guard parts.count == 2, let unit = parts[1].utf8.first else { throw complaint }
        let isBare = !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(unit)
        let time = parts[1].lowercasedASCII
        guard let seconds = try? ValueParsing.duration(isBare ? "1\(time)" : time, windows) else { throw complaint }
        let most: Int? =
            switch measure {
            case .bytes: try? ValueParsing.byteSize(parts[0], 1...1 << 50)
            case .bounces: percent(parts[0])
            default: try? count(parts[0])
            }
        guard let most else { throw complaint }
        return EntryLimit(most, window: Int64(seconds) * 1000, text: String(piece), least: least)
    }

    private static func percent(_ text: String) -> Int? {
        guard text.utf8.last == UInt8(ascii: "%"), let number = ValueParsing.digits(Substring(text.utf8.dropLast())),
            (0...99).contains(number)
        else { return nil }
        return number
    }

    /// `450`, `550`, `hold`, `park`, `park 2h`.
    private static func action(_ text: String) throws(ValueError) -> EntryAction {
        let words = text.words.map(String.init)
        switch (words.first?.lowercasedASCII, words.count) {
        case ("450", 1): return .later
        case ("550", 1): return .refuse
        case ("hold", 1): return .hold
        case ("park", 1): return .park(nil)
        case ("park", 2): return .park(Int64(try ValueParsing.duration(words[1], 1...31 * 86_400)) * 1000)
        default:
            throw ValueError(
                "\"\(ValueParsing.shown(text))\" is none of 450, 550, hold, park, and park with a time such as park 2h"
            )
        }
    }
}
