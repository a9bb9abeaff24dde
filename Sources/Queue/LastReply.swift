// LastReply.swift — what was last said about a recipient, and a pool of them: most mail that waits, waits for the same reason.
//
// Guarantee: the pool's memory is bounded, whatever peers say. When there are too many different texts at a time, a
// further one is kept without its words: code, status, reason and host stay.

package import Mail

/// What was last said about a recipient that failed for now.
package struct LastReply: Hashable, Sendable {
    /// The reply in words, code first, printable, at most 200 bytes.
    package let text: String
    package let reason: FailureReason
    /// The peer that spoke, as `host[ip]:port`; empty when nobody was reached.
    package let host: String

    /// - Parameter text: cut to 200 bytes.
    package init(_ text: String, reason: FailureReason = .other, host: String = "") {
        self.text = Self.cut(text)
        self.reason = reason
        self.host = Self.cut(host)
    }

    /// At most 200 bytes, no letter cut in two.
    private static func cut(_ text: String) -> String {
        guard text.utf8.count > 200 else { return text }
        var end = text.utf8.index(text.startIndex, offsetBy: 200)
        while end > text.startIndex, end.samePosition(in: text.unicodeScalars) == nil {
            end = text.utf8.index(before: end)
        }
        return String(text[..<end])
    }

    /// What a failure comes to.
    package init(_ failure: Failure) {
        self.init(failure.reply.description, reason: FailureReason(failure), host: failure.remote ?? "")
    }

    /// Without the words: `451 4.7.1` of `451 4.7.1 come back at noon`.
    fileprivate var brief: LastReply {
        let codes = text.split(separator: " ").prefix(2).prefix { $0.allSatisfy { $0.isNumber || $0 == "." } }
        return LastReply(codes.joined(separator: " ") + " (words not kept)", reason: reason, host: host)
    }
}

/// Replies by number, each kept once and counted.
struct ReplyPool: Sendable {
    /// Names a reply in the pool; 0 is none.
    typealias Number = UInt32

    private struct Entry: Sendable {
        var reply: LastReply
        var uses: Int
    }

    private let limit: Int
    private var entries: [Entry?] = [nil]
    private var free: [Number] = []
    private var numbers: [LastReply: Number] = [:]

    /// - Parameter limit: different replies kept in full.
    init(limit: Int = 16_384) { self.limit = limit }

    subscript(number: Number) -> LastReply? { entries[Int(number)]?.reply }

    var count: Int { numbers.count }

    /// Every number whose reply satisfies a condition.
    func numbers(where condition: (LastReply) -> Bool) -> Set<Number> {
        var found: Set<Number> = []
        for (reply, number) in numbers where condition(reply) { found.insert(number) }
        return found
    }

    /// Takes one use of a reply; give it back with ``release(_:)``.
    mutating func take(_ reply: LastReply) -> Number {
        if let number = numbers[reply] {
            entries[Int(number)]?.uses += 1
            return number
        }
        let isFull = numbers.count >= limit
        let kept = isFull ? reply.brief : reply
        if isFull, kept != reply, let number = numbers[kept] {
            entries[Int(number)]?.uses += 1
            return number
        }
        // Codes, reasons and hosts may differ without end too.
        guard numbers.count < 2 * limit else { return 0 }
        let number: Number
        if let last = free.popLast() {
            number = last
            entries[Int(last)] = Entry(reply: kept, uses: 1)
        } else {
            number = Number(entries.count)
            entries.append(Entry(reply: kept, uses: 1))
        }
        numbers[kept] = number
        return number
    }

    /// One more use of a number that is in use.
    mutating func share(_ number: Number) -> Number {
        if number != 0 { entries[Int(number)]?.uses += 1 }
        return number
    }

    mutating func release(_ number: Number) {
        guard number != 0, let entry = entries[Int(number)] else { return }
        if entry.uses > 1 {
            entries[Int(number)]?.uses -= 1
            return
        }
        numbers[entry.reply] = nil
        entries[Int(number)] = nil
        free.append(number)
    }
}
