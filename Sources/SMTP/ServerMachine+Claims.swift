// ServerMachine+Claims.swift — XCLIENT and XFORWARD: offered to trusted clients alone, to all others they are no commands.
//
// XCLIENT begins the session anew, as the client that is told; XFORWARD is about the next message alone.

import Mail
import NIOCore

extension ServerMachine {
    /// What the reply to EHLO says of them.
    mutating func announceClaims() {
        if offersXCLIENT {
            output.writeStaticString("250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN REVERSE_NAME DESTADDR DESTPORT\r\n")
        }
        if offersXFORWARD { output.writeStaticString("250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n") }
    }

    /// Answers the command.
    mutating func claim(_ text: String, _ kind: ClientClaim.Kind) -> Need? {
        guard kind == .client ? offersXCLIENT : offersXFORWARD else {
            refuse(.unknownCommand)
            return nil
        }
        guard transaction == nil else {
            refuse(.claimInTransaction)
            return nil
        }
        guard let claim = ClientClaim(text, kind) else {
            refuse(.badParameter)
            return nil
        }
        guard countIdle() else { return nil }
        switch kind {
        case .forward:
            forwarded = (forwarded ?? ClientClaim()).updated(by: claim)
            CannedReply.ok.write(to: &output)
            return nil
        case .client:
            phase = .readdressing
            return .readdress(claim)
        }
    }

    /// Answers ``Need/readdress(_:)``: the session is this client's from now on, and begins anew.
    ///
    /// - Parameters:
    ///   - user: who it has proved to be.
    ///   - mayRelay: whether it may.
    ///   - offer: how it may authenticate.
    ///   - isWelcome: false: there are too many connections of this client already.
    package mutating func readdressed(
        _ claim: ClientClaim,
        user: String?,
        mayRelay: Bool,
        offer: AuthOffer,
        isWelcome: Bool = true
    ) {
        guard case .readdressing = phase else { return }
        guard isWelcome else { return throwOut(.tooManyConnections) }
        phase = .connected
        // What came behind the command is the next session's: the framer's place in it is kept.
        (hello, heloName, mechanism, forwarded) = (.none, "", nil, nil)
        // What bound the one who logged in does not bind this one.
        (self.user, granted) = (user, nil)
        take(mayRelay: mayRelay, offer: offer)
        greet(spokeEarly: false)
        guard case .command = phase else { return }
        if let helo = claim.helo.value {
            heloName = helo
            hello = claim.isExtended.value == false ? .helo : .ehlo
        }
    }
}
