// LoadSign.swift — what a peer says about its load, and who could not be reached at all. Pure.

import Mail

extension Failure {
    /// The peer takes no more now, whatever the message: fewer sessions are the answer.
    ///
    /// 421 ends a session that stood (RFC 5321 §3.8); 432 at DATA is Exchange's limit of threads; X.3.2 and X.4.5 say of the
    /// whole system that it takes nothing, or is congested (RFC 3463 §3.4, §3.5).
    var isLoadSign: Bool {
        guard reply.severity == .temporary, !mayBeDuplicate else { return false }
        switch stage {
        case .mail, .recipient, .data, .endOfData: break
        case .route, .connect, .greeting, .hello, .tls, .auth, .body: return false
        }
        if reply.code == 421 || reply.code == 432 && stage == .data { return true }
        return scope != .recipient && reply.status.map { Self.load.contains($0) } ?? false
    }

    private static let load: Set<EnhancedStatus> = [EnhancedStatus(4, 3, 2), EnhancedStatus(4, 4, 5)]

    /// Nobody answered, so that nobody said anything about the mail: no name, no connection, no greeting.
    var isOutOfReach: Bool {
        guard reply.severity == .temporary else { return false }
        return switch stage {
        case .connect: true
        // Network and routing status (RFC 3463 §3.5): what we say ourselves of a peer that is silent or gone, or of a name.
        case .route, .greeting, .hello: reply.status?.subject == 4
        case .tls, .auth, .mail, .recipient, .data, .body, .endOfData: false
        }
    }

    /// What keeps a session from standing says nothing of mail that only waits behind it.
    var isOfSession: Bool {
        switch stage {
        case .connect, .greeting, .hello: true
        case .route, .tls, .auth, .mail, .recipient, .data, .body, .endOfData: false
        }
    }
}

extension Outcome {
    /// Deferred because the peer takes no more now.
    var isLoadSign: Bool { if case .deferred(let failure) = self { failure.isLoadSign } else { false } }

    /// The peer's word about this mail, not about the session.
    var isAnswer: Bool {
        switch self {
        case .delivered: true
        case .deferred(let failure), .bounced(let failure):
            (failure.scope == .message || failure.scope == .recipient) && failure.stage != .body && !isLoadSign
        }
    }

    /// A deferral for a login of ours that is refused, or missing.
    var loginRefusal: Failure? {
        if case .deferred(let failure) = self, failure.stage == .auth { failure } else { nil }
    }
}
