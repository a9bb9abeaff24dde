// NextStep.swift — what follows a failure: pure policy, row by row in `Tests/Tables/next_step.table`.

package import Mail

/// What to do about the recipients that a failure concerns.
package enum NextStep: Hashable, Sendable {
    case settle(Outcome)
    case tryNextHost
    /// Due again at once, and nothing that failed: this transaction was full.
    case nextTransaction
}

/// How the others of a transaction fared with whom a recipient failed.
package enum Company: Hashable, Sendable {
    /// It was alone, or the peer took the message for nobody.
    case nobody
    /// The message was taken for others, some of whom were named behind this recipient.
    case others
    /// It was taken for others, and for nobody who was named behind this recipient.
    case othersBefore
    /// It was taken for recipients of one domain, which is not this recipient's.
    case otherDomain
    /// The whole transaction failed together, with several recipients.
    case together
}

/// Decides by how far the attempt came, how far the trouble reaches, and how lasting the reply says it is.
///
/// - Parameters:
///   - hostsLeft: hosts of the route that come after the one that failed.
///   - company: how others of the same transaction fared.
///   - lacksTLS: the session was in the clear for no other reason than that TLS with the host came to nothing.
package func nextStep(
    after failure: Failure,
    hostsLeft: Int,
    in company: Company = .nobody,
    lacksTLS: Bool = false
) -> NextStep {
    switch failure.stage {
    case .connect, .greeting, .hello:
        // A host that does not even talk says nothing about the message, whatever its code (RFC 5321 §5.1).
        if hostsLeft > 0 { return .tryNextHost }
        return .settle(.deferred(failure.reaching(.destination)))
    case .tls:
        if hostsLeft > 0 { return .tryNextHost }
        // Permanent is only what a message demands and the peer cannot do (RFC 8689 §4.2.1).
        return .settle(
            failure.reply.severity == .permanent ? .bounced(failure) : .deferred(failure.reaching(.destination))
        )
    case .auth: return afterAuth(failure, hostsLeft)
    case .route:
        return .settle(failure.reply.severity == .permanent ? .bounced(failure) : .deferred(failure))
    case .recipient where failure.scope == .recipient && isFull(failure.reply, company): return .nextTransaction
    case .mail, .recipient, .data, .body, .endOfData:
        // What a server refuses in the clear it may take inside TLS, whatever the words of its refusal are.
        if lacksTLS, failure.reply.severity == .permanent { return .settle(.deferred(failure)) }
        let isOfRecipient = failure.stage == .recipient && failure.scope == .recipient
        return isOfRecipient ? afterRecipient(failure, hostsLeft) : afterCommand(failure, hostsLeft, company)
    }
}

/// Our credentials, not their mail: a bounce would punish the sender for our mistake.
///
/// Only where the administrator asked for it (`on_auth_unavailable = bounce`) the failure is the message's own.
private func afterAuth(_ failure: Failure, _ hostsLeft: Int) -> NextStep {
    switch failure.scope {
    case .message where failure.reply.severity == .permanent: .settle(.bounced(failure))
    case .host where hostsLeft > 0: .tryNextHost
    case .recipient, .message, .host, .destination: .settle(.deferred(failure.reaching(.destination)))
    }
}

/// RCPT was refused for the recipient's sake.
private func afterRecipient(_ failure: Failure, _ hostsLeft: Int) -> NextStep {
    // RFC 5321 §4.5.3.1.10: too many recipients is nothing permanent, whatever the code.
    if failure.reply.severity == .permanent, !failure.reply.saysTooMany { return .settle(.bounced(failure)) }
    // A local error of this host, like 451 to MAIL; any other answer is about the mailbox, which is the same everywhere.
    if failure.reply.code == 451, hostsLeft > 0 { return .tryNextHost }
    return .settle(.deferred(failure))
}

/// The peer has enough recipients for one transaction, and took the message for those before.
///
/// A refusal that says what is wrong with the mailbox (x.1.z, x.2.z) or the sender (x.7.z) is never one of these; without an
/// enhanced status, 452 and 552 are (RFC 5321 §4.5.3.1.10) as long as nobody behind was taken.
private func isFull(_ reply: Reply, _ company: Company) -> Bool {
    switch company {
    case .nobody, .together: return false
    case .others, .othersBefore, .otherDomain: break
    }
    if reply.saysTooMany { return true }
    guard let subject = reply.givenStatus?.subject else {
        if reply.code == 452 || reply.code == 552 { return company != .others }
        return reply.code == 451 && company == .otherDomain
    }
    // One domain in a transaction: `451 4.3.0 Multiple destination domains per transaction is unsupported`.
    return company == .otherDomain && reply.severity == .temporary && ![1, 2, 7].contains(subject)
}

private func afterCommand(_ failure: Failure, _ hostsLeft: Int, _ company: Company) -> NextStep {
    // The message may have arrived; another host would surely make it two.
    if failure.mayBeDuplicate { return .settle(.deferred(failure)) }
    if failure.reply.severity == .permanent {
        // Fewer of them are taken next time (RFC 3463 §3.6, X.5.3); what is learnt sees to it.
        return .settle(company == .together && failure.reply.saysTooMany ? .deferred(failure) : .bounced(failure))
    }
    switch failure.scope {
    case .recipient, .destination: return .settle(.deferred(failure))
    // A message that our own store cannot give is not helped by another host.
    case .message where failure.stage == .body: return .settle(.deferred(failure))
    case .message, .host: return hostsLeft > 0 ? .tryNextHost : .settle(.deferred(failure))
    }
}

extension Reply {
    /// X.5.3: too many recipients (RFC 3463 §3.6).
    var saysTooMany: Bool { givenStatus.map { $0.subject == 5 && $0.detail == 3 } ?? false }
}

extension Failure {
    /// The same failure seen as one of a wider or narrower scope.
    func reaching(_ scope: Scope) -> Failure {
        Failure(scope, at: stage, reply, remote: remote, mayBeDuplicate: mayBeDuplicate)
    }
}
