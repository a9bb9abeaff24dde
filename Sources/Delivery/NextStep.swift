// NextStep.swift — what follows a failure: pure policy, row by row in `Tests/Tables/next_step.table`.

package import Mail

/// What to do about the recipients that a failure concerns.
package enum NextStep: Hashable, Sendable {
    case settle(Outcome)
    case tryNextHost
}

/// Decides by how far the attempt came, how far the trouble reaches, and how lasting the reply says it is.
///
/// - Parameters:
///   - hostsLeft: hosts of the route that come after the one that failed.
///   - lacksTLS: the session was in the clear for no other reason than that TLS with the host came to nothing.
package func nextStep(after failure: Failure, hostsLeft: Int, lacksTLS: Bool = false) -> NextStep {
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
    case .mail, .recipient, .data, .body, .endOfData:
        // What a server refuses in the clear it may take inside TLS, whatever the words of its refusal are.
        if lacksTLS, failure.reply.severity == .permanent { return .settle(.deferred(failure)) }
        return afterCommand(failure, hostsLeft)
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

private func afterCommand(_ failure: Failure, _ hostsLeft: Int) -> NextStep {
    // The message may have arrived; another host would surely make it two.
    if failure.mayBeDuplicate { return .settle(.deferred(failure)) }
    if failure.reply.severity == .permanent { return .settle(.bounced(failure)) }
    switch failure.scope {
    case .recipient, .destination: return .settle(.deferred(failure))
    // A message that our own store cannot give is not helped by another host.
    case .message where failure.stage == .body: return .settle(.deferred(failure))
    case .message, .host: return hostsLeft > 0 ? .tryNextHost : .settle(.deferred(failure))
    }
}

extension Failure {
    /// The same failure seen as one of a wider or narrower scope.
    func reaching(_ scope: Scope) -> Failure {
        Failure(scope, at: stage, reply, remote: remote, mayBeDuplicate: mayBeDuplicate)
    }
}
