// FilterWords.swift — the one grammar of filters in short words, as the page, the tools and `?q=` take it.
//
//   to:ann@example.com from:*@shop.example domain:example.com route:smart state:held reason:dns error:"try later"
//   age>2h age<1d attempts>3 due<2027-01-31T12:00:00Z                        in the queue
//   id: header:"<x@y>" tag: code:550 class: status:bounced since: before: age<7d      in history
//
// A bare address is a recipient; quotes keep blanks. `Tests/Tables/filters.table` holds this reader and the page's together.

import JSON
import Mail

/// What short words mean: names and values as the long query has them.
enum FilterWords {
    case queue, history

    /// The name of the parameter and member.
    static let name = "q"
    /// Octets of a text that is read.
    static let longest = 2048

    /// The conditions of a text, in its order.
    ///
    /// - Parameter place: what a problem points at.
    /// - Throws: 422 that names the first word that means nothing, and those that do.
    func expand(_ text: String, place: String = "?\(name)", now: Timestamp = .now()) throws(Problem) -> [HeaderField] {
        guard text.utf8.count <= Self.longest else {
            throw Problem.invalid(place, "length", "is longer than \(Self.longest) bytes")
        }
        var found: [HeaderField] = []
        for word in Self.split(text) {
            guard let field = pair(word) ?? compared(word, now) ?? Self.address(word) else {
                let known = words.map { "\($0.0):" } + comparisons
                throw Problem.invalid(
                    place,
                    "format",
                    "\(word) means nothing here; there are \(known.joined(separator: " "))"
                )
            }
            found.append(field)
        }
        return found
    }

    /// Short words and the names that they stand for.
    private var words: [(String, String)] {
        let common = [
            ("to", "recipient"), ("from", "sender"), ("domain", "domain"), ("route", "route"), ("reason", "reason"),
        ]
        return switch self {
        case .queue: common + [("state", "state"), ("status", "state"), ("error", "error_contains"), ("sort", "sort")]
        case .history:
            common + [
                ("status", "status"), ("code", "code"), ("class", "reply_class"), ("tag", "tag"), ("id", "id"),
                ("header", "header_message_id"), ("since", "since"), ("before", "before"),
            ]
        }
    }

    private var comparisons: [String] {
        switch self {
        case .queue: ["age>2h", "age<1d", "attempts>3", "due<2027-01-31T12:00:00Z"]
        case .history: ["age>2h", "age<1d"]
        }
    }

    private func pair(_ word: String) -> HeaderField? {
        guard let colon = word.utf8.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let short = word[..<colon]
        let value = Self.unquoted(word[word.utf8.index(after: colon)...])
        guard let name = words.first(where: { $0.0.isSame(octets: short) })?.1, !value.isEmpty else { return nil }
        return HeaderField(name, name == "since" || name == "before" ? Self.moment(value) : value)
    }

    private func compared(_ word: String, _ now: Timestamp) -> HeaderField? {
        guard let place = word.utf8.firstIndex(where: { $0 == UInt8(ascii: "<") || $0 == UInt8(ascii: ">") }) else {
            return nil
        }
        let isMore = word.utf8[place] == UInt8(ascii: ">")
        let value = String(word[word.utf8.index(after: place)...])
        switch (self, String(word[..<place]), isMore) {
        case (.queue, "age", _):
            return Self.seconds(value).map { HeaderField(isMore ? "min_age_s" : "max_age_s", "\($0)") }
        case (.history, "age", _):
            return Self.seconds(value).map {
                HeaderField(isMore ? "before" : "since", now.adding(milliseconds: -$0 * 1000).rfc3339)
            }
        case (.queue, "attempts", true):
            return Self.number(value).map { HeaderField("min_attempts", "\($0 + 1)") }
        case (.queue, "due", false): return value.isEmpty ? nil : HeaderField("due_before", Self.moment(value))
        default: return nil
        }
    }

    /// A bare address is a recipient.
    private static func address(_ word: String) -> HeaderField? {
        guard let at = word.utf8.firstIndex(of: UInt8(ascii: "@")), at != word.utf8.startIndex,
            word.utf8.index(after: at) != word.utf8.endIndex,
            !word[..<at].utf8.contains(where: { #":<>""#.utf8.contains($0) })
        else { return nil }
        return HeaderField("recipient", word)
    }

    /// Words between blanks; what stands in quotes belongs together.
    private static func split(_ text: String) -> [String] {
        var words: [String] = []
        var word: [UInt8] = []
        var isQuoted = false
        for octet in text.utf8 {
            if octet == UInt8(ascii: "\"") { isQuoted.toggle() }
            if !isQuoted, octet == 0x20 || (0x09...0x0D).contains(octet) {
                if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
                word = []
            } else {
                word.append(octet)
            }
        }
        if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
        return words
    }

    private static func unquoted(_ text: Substring) -> String {
        let octets = text.utf8
        guard octets.count >= 2, octets.first == UInt8(ascii: "\""), octets.last == UInt8(ascii: "\"") else {
            return String(text)
        }
        return String(decoding: octets.dropFirst().dropLast(), as: UTF8.self)
    }

    /// A day is a time too.
    private static func moment(_ text: String) -> String {
        text.utf8.count == 10 && Timestamp(rfc3339: "\(text)T00:00:00Z") != nil ? "\(text)T00:00:00Z" : text
    }

    /// Seconds of `90`, `90s`, `5m`, `5min`, `2h`, `1d`.
    private static func seconds(_ text: String) -> Int64? {
        let digits = text.utf8.prefix { (0x30...0x39).contains($0) }
        guard let number = number(String(decoding: digits, as: UTF8.self)) else { return nil }
        let factor: Int64? =
            switch String(decoding: text.utf8.dropFirst(digits.count), as: UTF8.self) {
            case "", "s": 1
            case "m", "min": 60
            case "h": 3600
            case "d": 86_400
            default: nil
            }
        return factor.map { number * $0 }
    }

    private static func number(_ text: String) -> Int64? {
        guard (1...9).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int64(text)
    }
}

extension AdminRequest {
    /// The same request with the short words of `q` spelled out.
    func spelledOut(_ words: FilterWords) throws(Problem) -> AdminRequest {
        guard let text = value(FilterWords.name) else { return self }
        guard values(FilterWords.name).count == 1 else { throw Problem.invalid("?q", "duplicate", "given twice") }
        var request = self
        request.query.removeAll { $0.name == FilterWords.name }
        request.query += try words.expand(text)
        return request
    }
}
