// DropFile.swift — a message as it lies in the drop: two lines of ours, the envelope a line each, an empty line, the message.
//
//     martlet drop 1
//     341                     octets behind this line
//     root@relay.example      the sender; empty for none
//     ann@example.org         recipients, one or more
//
//     From: root@relay.example …
//
// Pure. What was not written to its end says so, because its length does.

import Mail

/// Writes and reads the form.
enum DropFile {
    private static let mark = Array("martlet drop 1\n".utf8)
    /// Recipients of one message.
    private static let mostRecipients = 100_000
    /// Bytes that may stand in a file besides the message.
    static let mostBesides = 4 << 20
    private static let feed = UInt8(ascii: "\n")

    enum Reading {
        case whole(Letter)
        /// It ends before its end: somebody writes it now, or did not come to the end.
        case partial
        case malformed
    }

    static func octets(of letter: Letter) -> [UInt8] {
        let lines = (["\(letter.from)"] + letter.to.map(\.description)).map { "\($0)\n" }.joined()
        let rest = Array(lines.utf8) + [feed] + letter.bytes
        return mark + Array("\(rest.count)\n".utf8) + rest
    }

    static func letter(_ bytes: [UInt8]) -> Reading {
        guard bytes.starts(with: mark) else { return mark.starts(with: bytes) ? .partial : .malformed }
        var rest = bytes.dropFirst(mark.count)
        guard let length = line(&rest) else { return rest.count < 20 ? .partial : .malformed }
        guard let count = Int(length), count >= 0, rest.count <= count else { return .malformed }
        guard rest.count == count else { return .partial }
        guard let from = line(&rest), let sender = sender(from) else { return .malformed }
        var recipients: [EmailAddress] = []
        while let text = line(&rest) {
            if text.utf8.isEmpty {
                guard !recipients.isEmpty else { return .malformed }
                return .whole(Letter(from: sender, to: recipients, bytes: Array(rest)))
            }
            guard let address = EmailAddress(text), recipients.count < mostRecipients else { return .malformed }
            recipients.append(address)
        }
        return .malformed
    }

    private static func sender(_ text: String) -> ReversePath? {
        text.utf8.isEmpty ? .null : EmailAddress(text).map(ReversePath.address)
    }

    /// Takes a line off the front; nil when there is none, or it is no text.
    private static func line(_ rest: inout ArraySlice<UInt8>) -> String? {
        guard let end = rest.firstIndex(of: feed), let text = String(validating: rest[..<end], as: UTF8.self) else {
            return nil
        }
        rest = rest[(end + 1)...]
        return text
    }
}
