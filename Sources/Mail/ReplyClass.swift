// ReplyClass.swift — why a reply says no, in one word of a closed list: what limits, suppression, people and reports decide by.
//
// The words stand in the API, in events, in metrics and in `bounce_classes.ini`: rename none.

/// Why mail was not taken.
package enum ReplyClass: UInt8, Hashable, Sendable, CaseIterable {
    /// None of the others.
    case other
    /// There is no such mailbox.
    case invalidRecipient
    /// The mailbox was there and is switched off.
    case inactive
    /// The mailbox is full.
    case quota
    /// A rule of theirs that has nothing to do with spam: who may write to whom, names, administrators.
    case policy
    /// The address or domain that sends is known for spam: blocklists, reputation.
    case spamBlock
    /// What the mail says: spam, a virus, an attachment.
    case spamContent
    /// SPF, DKIM, DMARC, or our login.
    case authFailed
    /// Too much, too fast, too many.
    case rate
    /// They do not know us yet: come back.
    case greylist
    /// A name could not be resolved: theirs, or by them the sender's.
    case dns
    /// Nobody there, or not able to work just now.
    case connection
    /// One side did not speak SMTP or MIME as the other expects.
    case protocolError
    /// It failed for now until no attempt was left.
    case expired
    /// They do not take mail for this domain.
    case relayDenied
    /// The mail is larger than they take.
    case messageSize

    /// The word.
    package var name: String {
        switch self {
        case .other: "other"
        case .invalidRecipient: "invalid_recipient"
        case .inactive: "inactive"
        case .quota: "quota"
        case .policy: "policy"
        case .spamBlock: "spam_block"
        case .spamContent: "spam_content"
        case .authFailed: "auth_failed"
        case .rate: "rate"
        case .greylist: "greylist"
        case .dns: "dns"
        case .connection: "connection"
        case .protocolError: "protocol"
        case .expired: "expired"
        case .relayDenied: "relay_denied"
        case .messageSize: "message_size"
        }
    }

    /// The class with that word.
    ///
    /// - Returns: nil for a word that is not in the list.
    package init?(name: some StringProtocol) {
        guard let found = Self.allCases.first(where: { $0.name.isSame(octets: name) }) else { return nil }
        self = found
    }

    /// The address is to blame, and nobody else: what a list of addresses that get nothing may learn from.
    package var speaksOfMailbox: Bool { self == .invalidRecipient || self == .inactive }
}
