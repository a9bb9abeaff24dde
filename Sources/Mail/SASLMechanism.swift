// SASLMechanism.swift — the ways in which a client may authenticate to us.

/// A way to authenticate, by its registered name.
package enum SASLMechanism: String, CaseIterable, Hashable, Sendable {
    /// RFC 4616.
    case plain = "PLAIN"
    /// What everybody does and no standard says.
    case login = "LOGIN"
    /// RFC 2195.
    case cramMD5 = "CRAM-MD5"
    /// RFC 5802, RFC 7677.
    case scramSHA256 = "SCRAM-SHA-256"
    /// Google's and Microsoft's, for access tokens.
    case xoauth2 = "XOAUTH2"
    /// RFC 7628.
    case oauthBearer = "OAUTHBEARER"

    /// What the client shows is an access token.
    package var takesToken: Bool { self == .xoauth2 || self == .oauthBearer }
}
