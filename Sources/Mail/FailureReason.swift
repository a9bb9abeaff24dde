// FailureReason.swift — why mail failed, in one word of a closed set: for filters, statistics and metric labels. Pure.
//
// The words are the same in the log, in the API and in the metrics. Codes come first, because peers' texts are prose;
// of the text only a few words decide that many large sites share.

/// The kind of a failure; see ``init(_:)`` for how it is told.
package enum FailureReason: UInt8, Hashable, Sendable, CaseIterable {
    case other, dns, noMX, connectRefused, connectTimeout, unreachable, tls, auth, greylisted, rateLimited, reputation
    case policy, mailboxUnknown, mailboxFull, content, size, protocolError, local, expired, admin

    /// The word for logs, the API and metric labels.
    package var name: String {
        switch self {
        case .other: "other"
        case .dns: "dns"
        case .noMX: "no_mx"
        case .connectRefused: "connect_refused"
        case .connectTimeout: "connect_timeout"
        case .unreachable: "unreachable"
        case .tls: "tls"
        case .auth: "auth"
        case .greylisted: "greylisted"
        case .rateLimited: "rate_limited"
        case .reputation: "reputation"
        case .policy: "policy"
        case .mailboxUnknown: "mailbox_unknown"
        case .mailboxFull: "mailbox_full"
        case .content: "content"
        case .size: "size"
        case .protocolError: "protocol"
        case .local: "local"
        case .expired: "expired"
        case .admin: "admin"
        }
    }

    /// The reason with that word.
    ///
    /// - Returns: nil for a word that is not in the set.
    package init?(name: some StringProtocol) {
        guard let reason = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = reason
    }
}

extension FailureReason {
    /// Tells the reason of a failure: by how far the attempt had come, then by the enhanced status, then by the text.
    package init(_ failure: Failure) {
        let status = failure.reply.status
        if status?.subject == 4, status?.detail == 7 {
            self = .expired
            return
        }
        switch failure.stage {
        case .route: self = Self.ofRoute(failure.reply)
        case .connect: self = Self.ofConnect(failure.reply)
        case .tls: self = .tls
        case .auth: self = .auth
        case .greeting, .hello, .mail, .recipient, .data, .body, .endOfData: self = Self.ofConversation(failure)
        }
    }

    private static func ofRoute(_ reply: Reply) -> FailureReason {
        let text = Words(reply)
        if reply.status?.detail == 10 || text.holds("null mx") || text.holds("no mx") { return .noMX }
        return reply.severity == .permanent && reply.status?.subject == 7 ? .policy : .dns
    }

    private static func ofConnect(_ reply: Reply) -> FailureReason {
        let text = Words(reply)
        if text.holds("refused") { return .connectRefused }
        if text.holds("timed out") || text.holds("timeout") { return .connectTimeout }
        if text.holds("cannot assign") || text.holds("not local") { return .local }
        return .unreachable
    }

    private static func ofConversation(_ failure: Failure) -> FailureReason {
        let status = failure.reply.status
        switch (status?.subject, status?.detail) {
        case (1, 1), (1, 2), (1, 3), (1, 6), (1, 10), (2, 1): return .mailboxUnknown
        case (2, 2): return .mailboxFull
        case (2, 3), (3, 4): return .size
        case (4, 1), (4, 2): return .unreachable
        case (5, _): return .protocolError
        case (6, _): return .content
        default: break
        }
        let text = Words(failure.reply)
        for (words, reason) in Self.words where words.contains(where: text.holds(_:)) { return reason }
        switch (status?.subject, failure.stage) {
        case (7, _): return .policy
        case (nil, .recipient) where failure.reply.code == 550: return .mailboxUnknown
        case (_, .recipient) where failure.reply.code == 552: return .mailboxFull
        case (_, .mail) where failure.reply.code == 552, (_, .endOfData) where failure.reply.code == 552: return .size
        default: return .other
        }
    }

    private static let words: [([StaticString], FailureReason)] = [
        (["greylist", "graylist", "grey list", "try again in"], .greylisted),
        (["rate limit", "too many", "throttl", "too fast", "temporarily deferred"], .rateLimited),
        (["blocklist", "blacklist", "block list", "spamhaus", "reputation", "dnsbl", "listed"], .reputation),
        (["spam", "virus", "malware", "content"], .content),
        (["quota", "mailbox full", "mailbox is full", "over limit"], .mailboxFull),
        (["user unknown", "unknown user", "no such user", "does not exist", "mailbox unavailable"], .mailboxUnknown),
        (["dmarc", "dkim", "spf", "policy"], .policy),
        (["timed out", "timeout", "connection"], .unreachable),
    ]
}

/// What a peer said, in small letters; octets, because a lane that cannot be reached asks this of every mail that waits.
private struct Words {
    private let text: [UInt8]

    init(_ reply: Reply) {
        text = reply.lines.joined(separator: " ").utf8.map { $0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0 }
    }

    func holds(_ words: StaticString) -> Bool {
        guard text.count >= words.utf8CodeUnitCount else { return false }
        let sought = UnsafeBufferPointer(start: words.utf8Start, count: words.utf8CodeUnitCount)
        return (0...text.count - sought.count).contains { text[$0..<$0 + sought.count].elementsEqual(sought) }
    }
}
