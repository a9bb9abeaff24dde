// FailureReason.swift — why mail failed, in one word of a closed set: for filters, statistics and metric labels. Pure.
//
// The words are the same in the log, in the API and in the metrics. Codes come first, because peers' texts are prose;
// of the text only a few words decide that many large sites share.

/// The kind of a failure; see ``init(_:)`` for how it is told.
package enum FailureReason: UInt8, Hashable, Sendable, CaseIterable {
    case other, dns, noMX, connectRefused, connectTimeout, unreachable, tls, auth, greylisted, rateLimited, reputation
    case policy, mailboxUnknown, mailboxFull, content, size, protocolError, local, expired, admin
    case mailboxInactive, senderAuth, relayDenied

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
        case .mailboxInactive: "mailbox_inactive"
        case .senderAuth: "sender_auth"
        case .relayDenied: "relay_denied"
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
    /// Tells the reason of a failure: by how far the attempt had come, then by what the reply's class is.
    ///
    /// - Parameter table: tells the classes; with the rules of the user.
    package init(_ failure: Failure, by table: ReplyClassifier = .shipped) {
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
        case .greeting, .hello, .mail, .recipient, .data, .body, .endOfData:
            self.init(failure, table.classify(failure.reply, at: failure.stage).replyClass)
        }
    }

    private static func ofRoute(_ reply: Reply) -> FailureReason {
        if reply.status?.detail == 10 || holds(reply, "null mx") || holds(reply, "no mx") { return .noMX }
        return reply.severity == .permanent && reply.status?.subject == 7 ? .policy : .dns
    }

    private static func ofConnect(_ reply: Reply) -> FailureReason {
        if holds(reply, "refused") { return .connectRefused }
        if holds(reply, "timed out") || holds(reply, "timeout") { return .connectTimeout }
        if holds(reply, "cannot assign") || holds(reply, "not local") { return .local }
        return .unreachable
    }

    private static func holds(_ reply: Reply, _ words: String) -> Bool {
        reply.lines.contains { $0.lowercasedASCII.contains(octets: words) }
    }

    /// What a class of replies is among the reasons.
    ///
    /// - Parameters:
    ///   - failure: tells our login from that of the mail.
    ///   - replyClass: of its reply.
    package init(_ failure: Failure, _ replyClass: ReplyClass) {
        self =
            switch replyClass {
            case .other: .other
            case .invalidRecipient: .mailboxUnknown
            case .inactive: .mailboxInactive
            case .quota: .mailboxFull
            case .policy: .policy
            case .spamBlock: .reputation
            case .spamContent: .content
            case .authFailed: [530, 534, 535, 538].contains(failure.reply.code) ? .auth : .senderAuth
            case .rate: .rateLimited
            case .greylist: .greylisted
            case .dns: .dns
            case .connection: .unreachable
            case .protocolError: .protocolError
            case .expired: .expired
            case .relayDenied: .relayDenied
            case .messageSize: .size
            }
    }

    /// The class of replies that the reason stands for: what is coarser follows from what is finer, never from a second look.
    package var replyClass: ReplyClass {
        switch self {
        case .other, .local, .admin: .other
        case .dns, .noMX: .dns
        case .connectRefused, .connectTimeout, .unreachable: .connection
        case .tls, .protocolError: .protocolError
        case .auth, .senderAuth: .authFailed
        case .greylisted: .greylist
        case .rateLimited: .rate
        case .reputation: .spamBlock
        case .policy: .policy
        case .mailboxUnknown: .invalidRecipient
        case .mailboxInactive: .inactive
        case .mailboxFull: .quota
        case .content: .spamContent
        case .size: .messageSize
        case .expired: .expired
        case .relayDenied: .relayDenied
        }
    }
}
