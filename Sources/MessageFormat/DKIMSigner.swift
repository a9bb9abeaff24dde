// DKIMSigner.swift — DKIM-Signature header fields (RFC 6376, RFC 8463): rsa-sha256 and ed25519-sha256, relaxed/relaxed.
//
// Guarantees: what is signed is what is sent, because the relay changes nothing behind it; a message with no From field,
// or with several, is not signed; a field that must not be added later is signed once more than it is there.

package import Mail
import NIOCore
package import OpenSSL

/// One key of one domain.
package struct DKIMSigner: Sendable {
    /// Which header fields a signature covers; names in lower case.
    package struct Coverage: Hashable, Sendable {
        /// Signed as often as they are there.
        package var signed: [String]
        /// Signed once more, so that nobody adds another.
        package var oversigned: Set<String>

        package init(signed: [String], oversigned: Set<String>) {
            self.signed = signed
            self.oversigned = oversigned
        }
    }

    private let domain: Domain
    private let selector: String
    private let key: SigningKey

    package init(domain: Domain, selector: String, key: SigningKey) {
        self.domain = domain
        self.selector = selector
        self.key = key
    }

    /// The `DKIM-Signature` field with its CRLF.
    ///
    /// Blocks: an RSA key takes about a millisecond.
    /// - Parameters:
    ///   - header: every field that the message will leave with, from its first line to its last.
    ///   - bodyHash: of the body in its relaxed form.
    /// - Throws: when OpenSSL cannot sign.
    package func sign(
        header: [UInt8],
        bodyHash: [UInt8],
        _ coverage: Coverage,
        at time: Timestamp
    ) throws(TLSError) -> [UInt8] {
        let fields = HeaderFields(header).fields
        var names: [String] = []
        var data: [UInt8] = []
        for name in coverage.signed {
            let found = fields.filter { $0.name == name }.reversed()
            for field in found {
                names.append(name)
                data += DKIMHeader.relaxed(name, field.value) + [0x0D, 0x0A]
            }
            if coverage.oversigned.contains(name) { names.append(name) }
        }
        let value = unsigned(names, bodyHash, time)
        data += DKIMHeader.relaxed("dkim-signature", value.utf8)
        let signature = try key.sign(key.kind == .ed25519 ? Digest.sha256(data) : data)
        return Array("DKIM-Signature:\(value)\(Self.folded(Base64.encode(signature)))\r\n".utf8)
    }

    /// Everything behind the colon up to `b=`.
    private func unsigned(_ names: [String], _ bodyHash: [UInt8], _ time: Timestamp) -> String {
        let algorithm = key.kind == .ed25519 ? "ed25519-sha256" : "rsa-sha256"
        var lines = [" v=1; a=\(algorithm); c=relaxed/relaxed; d=\(domain.name); s=\(selector);"]
        lines.append("\tt=\(time.milliseconds / 1000); bh=\(Base64.encode(bodyHash));")
        var line = "\th="
        for (index, name) in names.enumerated() {
            let piece = index + 1 < names.count ? "\(name):" : "\(name);"
            if line.utf8.count + piece.utf8.count > 74 {
                lines.append(line)
                line = "\t"
            }
            line += piece
        }
        lines.append(line)
        return lines.joined(separator: "\r\n") + "\r\n\tb="
    }

    private static func folded(_ text: String) -> String {
        var result = ""
        var rest = Substring(text)
        var room = 70
        while !rest.isEmpty {
            if !result.isEmpty { result += "\r\n\t" }
            result += rest.prefix(room)
            rest = rest.dropFirst(room)
            room = 72
        }
        return result
    }
}
