// RouteName.swift — what may stand in the brackets of `routes.ini`: whom a section is about.

import Mail

/// The name of a section.
enum RouteName: Hashable, Sendable, CustomStringConvertible {
    /// `user@domain`, `domain`, `*.suffix`, `*`.
    case recipient(AddressPattern)
    /// `sender X`, where `X` may be `<>` and is never `*`.
    case sender(AddressPattern)
    /// `sender X to Y`; `Y` is never `*`, for that would be `sender X`.
    case pair(sender: AddressPattern, recipient: AddressPattern)

    private static let word = "sender "
    private static let to = " to "

    /// Reads a name; `sender X to *` is another way to say `sender X`.
    init?(_ text: some StringProtocol) {
        guard text.utf8.starts(with: Self.word.utf8) else {
            guard let pattern = AddressPattern(text), pattern != .null else { return nil }
            self = .recipient(pattern)
            return
        }
        let rest = text.dropping(octets: Self.word.utf8.count).trimmedStart
        guard let (sender, recipient) = Self.parts(rest) else {
            guard let sender = AddressPattern(rest), sender != AddressPattern.any else { return nil }
            self = .sender(sender)
            return
        }
        guard sender != AddressPattern.any, recipient != .null else { return nil }
        self = recipient == AddressPattern.any ? .sender(sender) : .pair(sender: sender, recipient: recipient)
    }

    /// What stands before and behind the last `to` that is not a part of an address.
    private static func parts(_ text: Substring) -> (sender: AddressPattern, recipient: AddressPattern)? {
        let octets = Array(text.utf8)
        let to = Array(Self.to.utf8)
        guard octets.count > to.count else { return nil }
        for start in stride(from: octets.count - to.count, through: 1, by: -1)
        where octets[start..<start + to.count].elementsEqual(to) {
            let (left, right) = (octets[..<start], octets[(start + to.count)...])
            if let sender = AddressPattern(String(decoding: left, as: UTF8.self).trimmed),
                let recipient = AddressPattern(String(decoding: right, as: UTF8.self).trimmed)
            {
                return (sender, recipient)
            }
        }
        return nil
    }

    /// As it stands in the brackets, in normal form.
    var description: String {
        switch self {
        case .recipient(let pattern): "\(pattern)"
        case .sender(let pattern): "\(Self.word)\(pattern)"
        case .pair(let sender, let recipient): "\(Self.word)\(sender)\(Self.to)\(recipient)"
        }
    }

    /// Whose mail it may be by the recipient's domain; nil: anybody's.
    var recipientPattern: AddressPattern? {
        switch self {
        case .recipient(let pattern), .pair(_, let pattern): pattern == AddressPattern.any ? nil : pattern
        case .sender: nil
        }
    }
}
