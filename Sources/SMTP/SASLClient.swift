// SASLClient.swift — our half of an AUTH exchange as a value (RFC 4954): what to say first, and what to each challenge.
//
// PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), CRAM-MD5 (RFC 2195), XOAUTH2 (Google, Microsoft), OAUTHBEARER
// (RFC 7628). Whatever the peer sends as a challenge, the answer is bounded and the exchange ends.

package import Mail

/// Who we are towards this peer, with the secret at hand.
package struct Login: Hashable, Sendable {
    package let user: String
    package let secret: Secret
    /// Those that may be used; which one is ``choose(offered:isPrivate:canHash:)``'s decision.
    package let mechanisms: [Credentials.Mechanism]

    /// - Parameters:
    ///   - credentials: of the route.
    ///   - token: an access token in force, where the credentials hold a grant for one.
    /// - Returns: nil when the credentials need a token and there is none.
    package init?(_ credentials: Credentials, token: Secret? = nil) {
        user = credentials.user
        mechanisms = credentials.mechanisms
        switch credentials.proof {
        case .password(let password):
            secret = password
        case .grant:
            guard let token else { return nil }
            secret = token
        }
    }

    /// The mechanisms to try, best first.
    ///
    /// On a private connection PLAIN and LOGIN come before CRAM-MD5, which works only where the peer keeps passwords in
    /// clear; on one that others may read CRAM-MD5 is the only one that does not give the secret away.
    /// - Parameters:
    ///   - offered: by the peer, in upper case.
    ///   - isPrivate: the connection is encrypted or does not leave this machine.
    ///   - canHash: CRAM-MD5 can be computed.
    func choose(offered: [String], isPrivate: Bool, canHash: Bool) -> [Credentials.Mechanism] {
        mechanisms.filter { mechanism in
            guard offered.contains(mechanism.rawValue) else { return false }
            return mechanism.needsPrivacy ? isPrivate : canHash
        }
    }
}

extension Reply {
    /// Speaks about our login and not about the mail, at whatever command it comes.
    ///
    /// By code and enhanced status only, since texts are prose; row by row in `Tests/Tables/login_replies.table`.
    ///
    /// - Source: RFC 4954 §6, RFC 5248 §2.4 (5.7.8 and those behind it)
    package var refusesLogin: Bool {
        if [530, 534, 535, 538].contains(code) { return true }
        guard severity == .permanent, let status = givenStatus, status.subject == 7 else { return false }
        return [8, 9, 11, 12, 13].contains(status.detail)
    }

    /// Answers AUTH without a word about the password: the mechanism, or the way we said it, is not the peer's.
    package var wantsOtherMechanism: Bool { [500, 501, 502, 503, 504, 534, 538].contains(code) }
}

/// One exchange.
struct SASLClient: Hashable, Sendable {
    let mechanism: Credentials.Mechanism
    private let login: Login
    private let host: String
    private let port: UInt16
    /// Answers given so far, the initial response included.
    private var answers = 0
    /// The peer overheard the initial response, asked, and got it again.
    private var hasRepeated = false

    init(_ mechanism: Credentials.Mechanism, _ login: Login, host: String, port: UInt16) {
        self.mechanism = mechanism
        self.login = login
        self.host = host
        self.port = port
    }

    /// What can be sent with the command itself; nil when the peer speaks first.
    ///
    /// Takes the place of the first answer.
    mutating func initialResponse() -> [UInt8]? {
        switch mechanism {
        case .login, .cramMD5: return nil
        case .plain, .xoauth2, .oauthBearer:
            answers = 1
            return opening
        }
    }

    /// Answers a challenge.
    ///
    /// - Parameter hmac: HMAC-MD5 of a message under a key.
    /// - Returns: nil to give up: the peer asks for more than the mechanism has.
    mutating func answer(_ challenge: [UInt8], hmac: (([UInt8], [UInt8]) -> [UInt8])?) -> [UInt8]? {
        if overheardOpening(challenge) {
            hasRepeated = true
            return opening
        }
        defer { answers += 1 }
        switch (mechanism, answers) {
        case (.plain, 0), (.xoauth2, 0), (.oauthBearer, 0): return opening
        // The prompts differ from server to server; the order does not.
        case (.login, 0): return Array(login.user.utf8)
        case (.login, 1): return Array(login.secret.revealed.utf8)
        case (.cramMD5, 0):
            guard let hmac, !challenge.isEmpty else { return nil }
            let digest = hmac(Array(login.secret.revealed.utf8), challenge)
            return Array(login.user.utf8) + [UInt8(ascii: " ")] + digest.hexadecimalOctets
        // The token was refused; the peer says why and then wants an answer before it says 535.
        case (.xoauth2, 1): return []
        case (.oauthBearer, 1): return [1]
        default: return nil
        }
    }

    /// A peer that takes no initial response asks for it with an empty challenge; PLAIN has no other challenge, whatever it says.
    private func overheardOpening(_ challenge: [UInt8]) -> Bool {
        guard answers == 1, !hasRepeated else { return false }
        return switch mechanism {
        case .plain: true
        case .xoauth2, .oauthBearer: challenge.isEmpty
        case .login, .cramMD5: false
        }
    }

    private var opening: [UInt8] {
        let (user, secret) = (Array(login.user.utf8), Array(login.secret.revealed.utf8))
        switch mechanism {
        case .plain: return [0] + user + [0] + secret
        case .xoauth2: return Array("user=".utf8) + user + [1] + Array("auth=Bearer ".utf8) + secret + [1, 1]
        case .oauthBearer:
            // RFC 5801 §4: comma and equals sign are written as numbers.
            let name = login.user.utf8.flatMap { byte -> [UInt8] in
                switch byte {
                case UInt8(ascii: ","): Array("=2C".utf8)
                case UInt8(ascii: "="): Array("=3D".utf8)
                default: [byte]
                }
            }
            return Array("n,a=".utf8) + name + Array(",\u{1}host=\(host)\u{1}port=\(port)\u{1}auth=Bearer ".utf8)
                + secret
                + [1, 1]
        case .login, .cramMD5: return []
        }
    }

    /// Whether a peer's text repeats what must not be repeated.
    static func givesAway(_ text: String, _ login: Login) -> Bool {
        let secret = login.secret.revealed
        guard !secret.isEmpty else { return false }
        let forms = [
            secret, Base64.encode(secret.utf8), Base64.encode([0] + Array(login.user.utf8) + [0] + Array(secret.utf8)),
        ]
        return forms.contains { text.contains(octets: $0) }
    }
}
