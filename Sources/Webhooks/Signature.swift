// Signature.swift — how a receiver knows that a body is ours: Standard Webhooks, HMAC-SHA256 with a shared key.
//
// What is signed: the message's id, the time of this attempt and the body, between dots, octet for octet.

package import Config
package import Mail
import OpenSSL

/// The three headers of a signed message.
package struct Signature: Hashable, Sendable {
    /// `webhook-id`: the same in every attempt.
    package let id: String
    /// `webhook-timestamp`: seconds since 1970, of this attempt.
    package let timestamp: Int64
    /// `webhook-signature`: one for each key, separated by blanks, the current one first.
    package let signatures: String

    /// Signs a body.
    package init(id: String, at time: Timestamp, body: [UInt8], keys: [WebhookSettings.Key]) {
        self.id = id
        timestamp = time.milliseconds / 1000
        let signed = Array("\(id).\(timestamp).".utf8) + body
        signatures = keys.map { key in
            "v1,\(Base64.encode(KeyedHash.hmac(.sha256, key: key.octets, message: signed)))"
        }.joined(separator: " ")
    }

    /// As a request takes them.
    package var headers: [(name: String, value: String)] {
        [("webhook-id", id), ("webhook-timestamp", "\(timestamp)"), ("webhook-signature", signatures)]
    }
}
