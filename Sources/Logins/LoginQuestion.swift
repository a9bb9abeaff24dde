// LoginQuestion.swift — what somebody outside of the relay's own file is asked about a login, and what may come back. Values.

package import Mail

/// Who wants to be let in, and how it proves to be that.
package struct LoginQuestion: Sendable {
    /// What proves it; a secret.
    package enum Proof: Hashable, Sendable {
        case password([UInt8])
        /// An access token (RFC 7628).
        case token([UInt8])

        /// The octets.
        package var bytes: [UInt8] {
            switch self {
            case .password(let bytes), .token(let bytes): bytes
            }
        }
    }

    /// Empty: the token says who it is.
    package let user: String
    package let proof: Proof
    /// `PLAIN`.
    package let mechanism: String
    package let client: IPAddress?
    /// Our end of the connection: `192.0.2.1:587`.
    package let listener: String
    package let isSecure: Bool

    package init(
        user: String,
        proof: Proof,
        mechanism: String,
        client: IPAddress?,
        listener: String,
        isSecure: Bool
    ) {
        (self.user, self.proof, self.mechanism) = (user, proof, mechanism)
        (self.client, self.listener, self.isSecure) = (client, listener, isSecure)
    }
}

/// Somebody who was let in.
package struct LoginGrant: Hashable, Sendable {
    package let user: String
    /// What binds its mail; nil: what the file of users says.
    package let constraint: SenderConstraint?
    /// Who let it in, in words: `program idp`.
    package let source: String

    package init(user: String, constraint: SenderConstraint? = nil, source: String) {
        (self.user, self.constraint, self.source) = (user, constraint, source)
    }
}

/// What a source says.
package enum LoginVerdict: Hashable, Sendable {
    case allowed(LoginGrant)
    /// With the reason, for the operator alone.
    case refused(String)
    /// It could not be found out: the client is to come again. With the reason, for the operator alone.
    case trouble(String)
    /// It is not its business: the next one is asked.
    case unknown
}

/// Who can say whether a login is right.
package protocol LoginSource: Sendable {
    /// In words: `program idp`.
    var name: String { get }
    /// It is asked about passwords.
    var takesPasswords: Bool { get }
    /// It is asked about access tokens.
    var takesTokens: Bool { get }

    /// Finds out.
    ///
    /// Blocks, for as long as its own time limit at most.
    func judge(_ question: LoginQuestion) -> LoginVerdict
}
