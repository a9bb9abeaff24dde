// SuppressionSettings.swift — `suppressions.ini`: what becomes of mail to addresses that get nothing, and who puts them there.

package import Mail

/// `suppressions.ini`.
package struct SuppressionSettings: Hashable, Sendable {
    /// What becomes of mail to such an address.
    package enum Check: String, Hashable, Sendable, CaseIterable {
        /// The list is kept and not looked at.
        case off
        /// RCPT is refused; mail that waits bounces.
        case refuse
        /// It is taken, and dropped without a word to the sender.
        case drop
    }

    /// `check`.
    package var check = Check.refuse
    /// `feed`: bounces that speak of a mailbox put it on the list.
    package var isFed = false
    /// `unconfirmed_days`: how long one bounce counts that nothing confirms.
    package var days = 7
    /// `store = hash`: addresses themselves are not kept, what they are told by is.
    package var isHashed = false
    /// `bypass`: senders whose mail is never held back; addresses, and domains.
    package var bypass: Set<String> = []

    package init() {}

    /// Whether the list is nothing to this sender.
    package func passes(_ sender: ReversePath) -> Bool {
        guard case .address(let address) = sender else { return true }
        return !bypass.isEmpty
            && [address.domain.name, "\(address)".lowercasedASCII].contains { bypass.contains($0) }
    }
}

extension SuppressionSettings: KeyedSettings {
    package static let file = "suppressions.ini"

    package static let keys: [SettingKey<SuppressionSettings>] = [
        SettingKey("check", show: { .text($0.check.rawValue) }) { (text, target) throws(ValueError) in
            guard let word = Check(rawValue: text.lowercasedASCII) else {
                throw ValueError("\"\(ValueParsing.shown(text))\" is none of off, refuse, drop")
            }
            target.check = word
        },
        .boolean("feed", \.isFed),
        .count("unconfirmed_days", \.days, 1...365),
        SettingKey("store", show: { .text($0.isHashed ? "hash" : "address") }) { (text, target) throws(ValueError) in
            switch text.lowercasedASCII {
            case "address": target.isHashed = false
            case "hash": target.isHashed = true
            default: throw ValueError("\"\(ValueParsing.shown(text))\" is neither address nor hash")
            }
        },
        SettingKey("bypass", show: { .text($0.bypass.sorted().joined(separator: ", ")) }) {
            (text, target) throws(ValueError) in
            var found: Set<String> = []
            for piece in ValueParsing.list(text) {
                if let address = EmailAddress(piece) {
                    found.insert("\(address)".lowercasedASCII)
                } else if let domain = Domain(piece) {
                    found.insert(domain.name)
                } else {
                    throw ValueError("\"\(ValueParsing.shown(piece))\" is neither an address nor a domain")
                }
            }
            target.bypass = found
        },
    ]

    package static let quietKeys: [SettingKey<SuppressionSettings>] = []
}
