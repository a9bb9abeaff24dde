// ReplyPool.swift — replies by number, each kept once: most mail that waits, waits for the same reason.
//
// Guarantee: the pool's memory is bounded, whatever peers say. When there are too many different texts at a time, a
// further one is kept without its words: code, status, reason and host stay.

import Mail
import Storage

extension LastReply {
    /// Without the words: `451 4.7.1` of `451 4.7.1 come back at noon`.
    fileprivate var brief: LastReply {
        let words = text.utf8.split(octet: " ").prefix(2)
        let codes = words.prefix { $0.allSatisfy { (0x30...0x39).contains($0) || $0 == UInt8(ascii: ".") } }
        let text = codes.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
        return LastReply(text + " (words not kept)", reason: reason, host: host)
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
