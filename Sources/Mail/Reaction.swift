// Reaction.swift — what replies make of a lane: so many of a kind in so long, and its mail pauses for a while. Pure.
//
// A pattern is an enhanced code, a basic code or the name of a reason; each is compared in a time that does not depend on what
// the peer says.

/// Which replies are meant.
package enum ReplyPattern: Hashable, Sendable {
    /// `5.7.*`, `4.2.1`; nil: any number.
    case enhanced(UInt8?, UInt16?, UInt16?)
    /// `421`, `45*`, `5**`.
    case code([UInt8?])
    /// A word for a kind of reply, such as `rate_limited`.
    case kind(String)

    /// Reads one.
    ///
    /// - Parameter isKind: whether a word is the name of a kind of reply.
    package init?(_ text: String, isKind: (String) -> Bool) {
        let parts = text.split(octet: ".", omittingEmpty: false).map { String($0) }
        if parts.count == 3 {
            var numbers: [UInt16?] = []
            for part in parts {
                if part.isSame(octets: "*") {
                    numbers.append(nil)
                } else {
                    guard let number = UInt16(part), number < 1000 else { return nil }
                    numbers.append(number)
                }
            }
            guard numbers[0].map({ [2, 4, 5].contains($0) }) ?? true else { return nil }
            self = .enhanced(numbers[0].map { UInt8($0) }, numbers[1], numbers[2])
            return
        }
        let octets = Array(text.utf8)
        if octets.count == 3, octets[0] == UInt8(ascii: "4") || octets[0] == UInt8(ascii: "5") {
            var digits: [UInt8?] = []
            for octet in octets {
                switch octet {
                case UInt8(ascii: "*"): digits.append(nil)
                case UInt8(ascii: "0")...UInt8(ascii: "9"): digits.append(octet - UInt8(ascii: "0"))
                default: return nil
                }
            }
            self = .code(digits)
            return
        }
        guard isKind(text) else { return nil }
        self = .kind(text)
    }

    /// Whether a reply is meant.
    ///
    /// - Parameter kinds: the words that its classifiers have for it.
    package func fits(_ reply: Reply, kinds: [String]) -> Bool {
        switch self {
        case .enhanced(let `class`, let subject, let detail):
            guard let status = reply.status else { return false }
            return (`class` ?? status.class) == status.class && (subject ?? status.subject) == status.subject
                && (detail ?? status.detail) == status.detail
        case .code(let digits):
            let code = [UInt8(reply.code / 100 % 10), UInt8(reply.code / 10 % 10), UInt8(reply.code % 10)]
            return zip(digits, code).allSatisfy { $0 == nil || $0 == $1 }
        case .kind(let word): return kinds.contains { $0.isSame(octets: word) }
        }
    }
}

/// A section `[reaction NAME]` of `limits.ini`.
package struct Reaction: Hashable, Sendable {
    package let name: String
    package let when: [ReplyPattern]
    /// Replies of the kind.
    package let count: Int
    /// In so many milliseconds.
    package let window: Int64
    /// Milliseconds for which the lane pauses.
    package let pause: Int64
    /// `limits.ini:12`.
    package let origin: String

    package init(name: String, when: [ReplyPattern], count: Int, window: Int64, pause: Int64, origin: String) {
        (self.name, self.when, self.count) = (name, when, count)
        (self.window, self.pause, self.origin) = (window, pause, origin)
    }
}

/// When replies of one kind came from one lane: as many as a reaction counts.
package struct ReplyTally: Hashable, Sendable {
    /// In milliseconds of the uptime, the newest last.
    package private(set) var times: [Int64] = []

    package init() {}

    /// One more came.
    ///
    /// - Returns: whether there are enough; then they are forgotten, and it begins anew.
    package mutating func add(_ reaction: Reaction, at now: Uptime) -> Bool {
        times.append(now.milliseconds)
        times.removeAll { $0 <= now.milliseconds - reaction.window }
        guard times.count >= reaction.count else { return false }
        times = []
        return true
    }
}
