// RouteEnding.swift — `reject` and `discard` of a section: what becomes of mail that goes nowhere, and the words for it.

import Mail

/// The end of mail that is not to be sent.
package enum RouteEnding: Hashable, Sendable {
    /// Whoever hands it in is told so; what is queued already bounces.
    case reject(String)
    /// It is taken and forgotten.
    case discard(String)

    static let names = ["reject", "discard"]
    private static let longest = 400

    /// Reads a line.
    ///
    /// - Parameter text: the words, or true for words of ours.
    /// - Returns: nil for `false`, or for another key.
    /// - Throws: ``ValueError`` for words that no reply can hold.
    package static func read(_ key: some StringProtocol, _ text: String) throws(ValueError) -> RouteEnding? {
        let isReject = key.isSame(octets: names[0])
        guard isReject || key.isSame(octets: names[1]) else { return nil }
        var words = text
        do throws(ValueError) {
            guard try ValueParsing.boolean(text) else { return nil }
            words = ""
        } catch {
            // Words, and no answer to a question.
        }
        let ending: RouteEnding = isReject ? .reject(words) : .discard(words)
        do throws(ValueError) { _ = try ending.way } catch {
            throw ValueError("\(names[isReject ? 0 : 1]): \(error.reason)")
        }
        return ending
    }

    /// The key of its line.
    package var name: String {
        switch self {
        case .reject: Self.names[0]
        case .discard: Self.names[1]
        }
    }

    /// The words as they were written; empty for ours.
    package var words: String {
        switch self {
        case .reject(let words), .discard(let words): words
        }
    }

    /// As it stands behind the equals sign.
    var written: String { words.isEmpty ? "true" : words }

    /// What it means.
    ///
    /// - Throws: ``ValueError`` for words that no reply can hold.
    package var way: Routes.Way {
        get throws(ValueError) {
            guard words.utf8.count <= Self.longest, words.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
                throw ValueError("holds more than \(Self.longest) octets, or others than printable ASCII")
            }
            switch self {
            case .discard: return .discard(words.isEmpty ? "the route discards mail" : words)
            case .reject: return .reject(try Self.reply(words))
            }
        }
    }

    /// `[code [status]] text`; without a code 550 5.7.1.
    private static func reply(_ text: String) throws(ValueError) -> Reply {
        var words = text.words[...]
        var code: UInt16 = 550
        if let first = words.first, first.utf8.count == 3, let number = UInt16(first) {
            guard (400...599).contains(number) else {
                throw ValueError("\(number) is no reply that refuses: 400 to 599")
            }
            code = number
            words = words.dropFirst()
        }
        var status = EnhancedStatus(UInt8(code / 100), 7, 1)
        if let first = words.first, let given = EnhancedStatus(leading: first.utf8), first.isSame(octets: "\(given)") {
            guard UInt16(given.class) == code / 100 else {
                throw ValueError("\(given) and \(code) contradict each other")
            }
            status = given
            words = words.dropFirst()
        }
        let rest = words.isEmpty ? "Mail for this recipient is not accepted" : words.joined(separator: " ")
        return Reply(code, status, rest)
    }
}
