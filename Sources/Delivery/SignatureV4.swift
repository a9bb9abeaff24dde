// SignatureV4.swift — Amazon's signature of a request, version 4: HMAC-SHA-256 over what is asked, by a key of the day.
//
// Guarantee: the secret key is in no part of what is returned.

import Mail
import OpenSSL

/// Who signs, and for what.
struct SignatureV4 {
    let accessKey: String
    let secretKey: Secret
    let region: String
    let service: String

    /// The value of `Authorization`.
    ///
    /// - Parameters:
    ///   - headers: names in lower case, in order; `host` and `x-amz-date` among them.
    ///   - time: `20150830T123600Z`, as in `x-amz-date`.
    func authorization(
        _ method: String,
        path: String,
        headers: [(name: String, value: String)],
        body: [UInt8],
        time: String
    ) -> String {
        let names = headers.map(\.name).joined(separator: ";")
        let canonical = [
            method, path, "", headers.map { "\($0.name):\($0.value)\n" }.joined(), names,
            Digest.sha256(body).hexadecimal,
        ].joined(separator: "\n")
        let day = String(decoding: time.utf8.prefix(8), as: UTF8.self)
        let scope = "\(day)/\(region)/\(service)/aws4_request"
        let text = ["AWS4-HMAC-SHA256", time, scope, Digest.sha256(Array(canonical.utf8)).hexadecimal]
            .joined(separator: "\n")
        let signature = KeyedHash.hmac(.sha256, key: key(day), message: Array(text.utf8)).hexadecimal
        return "AWS4-HMAC-SHA256 Credential=\(accessKey)/\(scope), SignedHeaders=\(names), Signature=\(signature)"
    }

    /// The key of a day.
    func key(_ day: String) -> [UInt8] {
        [day, region, service, "aws4_request"].reduce(Array("AWS4\(secretKey.revealed)".utf8)) { key, word in
            KeyedHash.hmac(.sha256, key: key, message: Array(word.utf8))
        }
    }

    /// A time as `x-amz-date` has it.
    static func text(of time: Timestamp) -> String {
        let text = time.rfc3339.utf8.filter { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: ":") }
        // Whole seconds.
        return String(decoding: text.prefix(15), as: UTF8.self) + "Z"
    }
}
