// SignedMessage.swift — messages to an ACME server: JSON, signed by the account's key (RFC 7515, RFC 8555 §6.2).

import JSON
import Mail
package import OpenSSL

/// The key of an account.
package struct AccountKey: Sendable {
    let key: SigningKey
    /// The public half, its members in the order that the thumbprint wants (RFC 7638 §3).
    let jwk: JSON

    /// - Throws: when the key is not ECDSA P-256.
    package init(_ key: SigningKey) throws(ACMEError) {
        guard let (x, y) = key.coordinates else { throw ACMEError("the account's key is not ECDSA P-256") }
        self.key = key
        jwk = [
            "crv": "P-256", "kty": "EC", "x": .string(Base64.urlEncode(x)), "y": .string(Base64.urlEncode(y)),
        ]
    }

    /// What a challenge is answered with (RFC 8555 §8.1).
    package func authorization(_ token: String) -> String {
        "\(token).\(Base64.urlEncode(Digest.sha256(Array(jwk.text.utf8))))"
    }

    /// The TXT record of a challenge in the DNS (RFC 8555 §8.4).
    package func record(_ token: String) -> String {
        Base64.urlEncode(Digest.sha256(Array(authorization(token).utf8)))
    }

    /// A message with its signature.
    ///
    /// - Parameters:
    ///   - account: its URL; nil: the account is not known by one yet.
    ///   - payload: nil asks for what is at the URL.
    func sign(_ payload: JSON?, url: String, nonce: String, account: String?) throws(ACMEError) -> JSON {
        var head: JSON = ["alg": "ES256", "nonce": .string(nonce), "url": .string(url)]
        if let account { head["kid"] = .string(account) } else { head["jwk"] = jwk }
        let (protected, body) = (Self.encoded(head), payload.map(Self.encoded) ?? "")
        do throws(TLSError) {
            let signature = try key.signES256(Array("\(protected).\(body)".utf8))
            return [
                "protected": .string(protected), "payload": .string(body),
                "signature": .string(Base64.urlEncode(signature)),
            ]
        } catch {
            throw ACMEError("the account's key does not sign: \(error.reason)")
        }
    }

    /// The tie to an account at the authority that was made otherwise (RFC 8555 §7.3.4).
    func bind(to binding: ACMETerms.Binding, url: String) -> JSON {
        let head: JSON = ["alg": "HS256", "kid": .string(binding.id), "url": .string(url)]
        let (protected, body) = (Self.encoded(head), Self.encoded(jwk))
        let tag = KeyedHash.hmac(.sha256, key: binding.key, message: Array("\(protected).\(body)".utf8))
        return ["protected": .string(protected), "payload": .string(body), "signature": .string(Base64.urlEncode(tag))]
    }

    private static func encoded(_ json: JSON) -> String { Base64.urlEncode(Array(json.text.utf8)) }
}
