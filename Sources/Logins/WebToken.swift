// WebToken.swift — an access token as a signed JWT: taken apart, and judged by what its issuer's section asks (RFC 7515, 7519,
// 8725). Pure; time is passed in.
//
// Guarantees: only RS256, ES256 and EdDSA, and only what the key itself is for: `none`, HS256 with a public key for a secret, and
// keys that the token brings along are no signatures; a critical extension that we do not know is a refusal.

import Config
import JSON
import Mail
import OpenSSL

/// A token before its signature was looked at.
struct WebToken: Sendable {
    let method: VerifyingKey.Method
    /// `kid`.
    let keyName: String?
    let claims: JSON
    private let signed: [UInt8]
    private let signature: [UInt8]

    /// Longest token, octets.
    private static let longest = 16 << 10

    /// Takes a token apart.
    ///
    /// - Throws: why it cannot be one that is good here.
    init(_ text: [UInt8]) throws(Refusal) {
        guard text.count <= Self.longest else { throw Refusal("the token is too long") }
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Base64URL.decode(parts[0]), let claims = Base64URL.decode(parts[1]),
            let signature = Base64URL.decode(parts[2]), let head = try? JSON(parsing: header),
            let body = try? JSON(parsing: claims), case .object = head, case .object = body
        else { throw Refusal("the token is no signed JWT") }
        guard let method = head["alg"]?.string.flatMap({ VerifyingKey.Method(rawValue: $0) }) else {
            throw Refusal("the token is not signed with RS256, ES256 or EdDSA")
        }
        guard head["crit"] == nil else { throw Refusal("the token has a critical extension") }
        (self.method, keyName, self.claims, self.signature) = (method, head["kid"]?.string, body, signature)
        signed = Array(parts[0]) + [UInt8(ascii: ".")] + Array(parts[1])
    }

    /// Why a token is not good.
    struct Refusal: Error, Hashable {
        let reason: String
        init(_ reason: String) { self.reason = reason }
    }

    /// Whose it says it is.
    var issuer: String? { claims["iss"]?.string }

    /// Judges it.
    ///
    /// - Parameter keys: those that may have signed it.
    /// - Returns: the user.
    /// - Throws: why it is not good, for the operator.
    func judge(_ issuer: LoginSettings.Issuer, _ keys: [VerifyingKey], at now: Timestamp) throws(Refusal) -> String {
        guard self.issuer.map({ $0.isSame(octets: issuer.issuer) }) ?? false else { throw Refusal("another issuer") }
        guard keys.contains(where: { $0.method == method && $0.isValid(signature, of: signed) }) else {
            throw Refusal("the signature is of no key of the issuer")
        }
        try checkTimes(issuer, at: now)
        let audiences = Self.words(claims["aud"])
        guard audiences.contains(where: { one in issuer.audiences.contains { $0.isSame(octets: one) } }) else {
            throw Refusal("the token is not for us (aud)")
        }
        let scopes = Self.words(claims["scope"], splitting: true) + Self.words(claims["scp"], splitting: true)
        if let missing = issuer.scopes.first(where: { scope in !scopes.contains { $0.isSame(octets: scope) } }) {
            throw Refusal("the token lacks the scope \(missing)")
        }
        guard let user = claims[issuer.userClaim]?.string, (1...255).contains(user.utf8.count),
            !user.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F })
        else { throw Refusal("the token has no usable claim \(issuer.userClaim)") }
        return user
    }

    private func checkTimes(_ issuer: LoginSettings.Issuer, at now: Timestamp) throws(Refusal) {
        let (seconds, leeway) = (Double(now.milliseconds) / 1000, Double(issuer.leeway))
        guard let expires = claims["exp"]?.double else { throw Refusal("the token never expires (exp)") }
        guard expires + leeway > seconds else { throw Refusal("the token has expired (exp)") }
        for name in ["nbf", "iat"] {
            guard let claim = claims[name] else { continue }
            guard let time = claim.double, time - leeway <= seconds else {
                throw Refusal("the token is of the future (\(name))")
            }
        }
    }

    /// A text, or an array of texts.
    private static func words(_ value: JSON?, splitting: Bool = false) -> [String] {
        let texts = value?.string.map { [$0] } ?? value?.elements.compactMap(\.string) ?? []
        return splitting ? texts.flatMap { $0.split(octet: " ").map { String($0) } } : texts
    }
}
