// ServerMachine+Auth.swift — AUTH: offered or not, the exchange line by line, and what follows from it (RFC 4954).
//
// Guarantees: while a question is open no input is used; a response never passes for a command, nor a command for a
// response; a name and a wrong password get the same reply; after so many failures the session ends.

package import Mail
import NIOCore

/// How a session may authenticate; who owns it decides that.
package struct AuthOffer: Hashable, Sendable {
    /// Announced after EHLO; none: AUTH is refused.
    package var mechanisms: [SASLMechanism]
    /// There are users, but the connection must be encrypted first.
    package var needsTLS: Bool
    /// Failures of one session before 421.
    package var failures: Int
    package var constraint: SenderConstraint

    package init(
        mechanisms: [SASLMechanism] = [],
        needsTLS: Bool = false,
        failures: Int = 3,
        constraint: SenderConstraint = .none
    ) {
        self.mechanisms = mechanisms
        self.needsTLS = needsTLS
        self.failures = failures
        self.constraint = constraint
    }
}

extension ServerMachine {
    /// What binds the mail of who has authenticated.
    package var constraint: SenderConstraint { granted ?? offer.constraint }

    mutating func auth(_ text: String) -> Need? {
        guard hello == .ehlo else { return deny(.helloFirst) }
        guard user == nil else { return deny(.authTwice) }
        guard transaction == nil else { return deny(.authInTransaction) }
        guard !offer.mechanisms.isEmpty else {
            return deny(offer.needsTLS ? .authNeedsTLS : .authNotNow)
        }
        let words = text.split(octet: " ", maxSplits: 1)
        guard let name = words.first else { return deny(.authSyntax) }
        let known = name.uppercasedASCII
        guard let mechanism = offer.mechanisms.first(where: { $0.rawValue == known }) else {
            return deny(.authMechanism)
        }
        var initial: [UInt8]?
        if words.count == 2 {
            // `=` is an initial response that is there and empty (RFC 4954 §4).
            guard let decoded = words[1] == "=" ? [] : Base64.decode(words[1].utf8) else {
                return deny(.authMalformed)
            }
            initial = decoded
        }
        var exchange = SASLExchange(mechanism, nonce: nonce(), me: me.name)
        self.mechanism = mechanism
        return go(on: exchange.begin(initial), exchange)
    }

    /// Reads the client's response to a challenge.
    mutating func response(_ exchange: SASLExchange, _ input: inout ByteBuffer) -> Need? {
        var exchange = exchange
        switch nextLine(&input) {
        case .incomplete: return .input
        case .refused(let fault):
            phase = .command
            return deny(fault == .tooLong ? .lineTooLong : .bareLineEnding)
        case .line(let length):
            phase = .command
            let line = input.readBytes(length: length) ?? []
            input.moveReaderIndex(forwardBy: lineEnd)
            if line == [UInt8(ascii: "*")] { return deny(.authCancelled) }
            guard let decoded = Base64.decode(line) else { return deny(.authMalformed) }
            return go(on: exchange.receive(decoded), exchange)
        }
    }

    /// Answers ``Need/authenticate(_:)``.
    package mutating func authenticated(_ answer: SASLAnswer) {
        guard case .verifying(var exchange) = phase else { return }
        phase = .command
        switch answer {
        case .unavailable:
            idle(.authUnavailable)
            drainIfIdle()
        case .tooMany: throwOut(.tooManyAuthFailures)
        case .acceptedAs(_, let bound):
            granted = bound
            _ = go(on: exchange.answered(answer), exchange)
        case .accepted, .refused, .scramSalt, .scramSignature:
            granted = nil
            _ = go(on: exchange.answered(answer), exchange)
        }
    }

    private mutating func go(on step: SASLExchange.Step, _ exchange: SASLExchange) -> Need? {
        switch step {
        case .challenge(let octets):
            output.writeStaticString("334 ")
            output.writeString(Base64.encode(octets))
            output.writeStaticString("\r\n")
            phase = .authenticating(exchange)
            return nil
        case .ask(let question):
            phase = .verifying(exchange)
            return .authenticate(question)
        case .accepted(let name):
            user = name
            mayRelay = true
            authFailures = 0
            CannedReply.authOK.write(to: &output)
        case .malformed: refuse(.authMalformed)
        case .refused:
            authFailures += 1
            if authFailures >= offer.failures {
                throwOut(.tooManyAuthFailures)
            } else {
                refuse(.authRefused, isTold: false)
            }
        }
        drainIfIdle()
        return nil
    }

    private mutating func deny(_ reply: CannedReply) -> Need? {
        refuse(reply)
        drainIfIdle()
        return nil
    }
}
