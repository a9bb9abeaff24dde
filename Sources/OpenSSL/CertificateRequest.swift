// CertificateRequest.swift — a request for a certificate (PKCS #10), written by hand: it is a dozen of nested values.
//
// An empty subject and one extension, the alternative names, which is what authorities go by (RFC 2986, RFC 5280 §4.2.1.6).

/// A request for a certificate.
package enum CertificateRequest {
    private enum Tag {
        static let integer: UInt8 = 0x02
        static let bits: UInt8 = 0x03
        static let octets: UInt8 = 0x04
        static let object: UInt8 = 0x06
        static let sequence: UInt8 = 0x30
        static let set: UInt8 = 0x31
        /// `dNSName` of a GeneralName.
        static let dnsName: UInt8 = 0x82
        /// The attributes.
        static let attributes: UInt8 = 0xA0
    }

    /// The identifier 1.2.840.113549.1.9.14.
    private static let extensionRequest: [UInt8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x0E]
    /// The identifier 2.5.29.17.
    private static let alternativeNames: [UInt8] = [0x55, 0x1D, 0x11]
    /// The identifier 1.2.840.10045.4.3.2.
    private static let ecdsaWithSHA256: [UInt8] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02]

    /// The request in DER, signed by its key.
    ///
    /// - Parameters:
    ///   - names: host names in A-labels.
    ///   - key: ECDSA P-256.
    /// - Throws: when the key is of another kind, or does not sign.
    package static func der(for names: [String], _ key: SigningKey) throws(TLSError) -> [UInt8] {
        guard key.kind == .p256 else { throw TLSError(.settings, "the key of a request is ECDSA P-256") }
        let san = value(Tag.sequence, names.flatMap { value(Tag.dnsName, Array($0.utf8)) })
        let extensions = value(
            Tag.sequence,
            value(Tag.sequence, value(Tag.object, alternativeNames) + value(Tag.octets, san))
        )
        let attribute = value(Tag.sequence, value(Tag.object, extensionRequest) + value(Tag.set, extensions))
        let info = value(
            Tag.sequence,
            value(Tag.integer, [0]) + value(Tag.sequence, []) + key.publicKeyDER + value(Tag.attributes, attribute)
        )
        let signature = try key.sign(info)
        return value(
            Tag.sequence,
            info + value(Tag.sequence, value(Tag.object, ecdsaWithSHA256)) + value(Tag.bits, [0] + signature)
        )
    }

    private static func value(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        switch content.count {
        case ..<0x80: [tag, UInt8(content.count)] + content
        case ..<0x100: [tag, 0x81, UInt8(content.count)] + content
        default: [tag, 0x82, UInt8(truncatingIfNeeded: content.count >> 8), UInt8(content.count & 0xFF)] + content
        }
    }
}

extension SigningKey {
    /// The two halves of a P-256 public key, 32 octets each; nil for other kinds.
    package var coordinates: (x: [UInt8], y: [UInt8])? {
        // SubjectPublicKeyInfo ends with the point: 4, x, y (RFC 5480 §2.2).
        let point = publicKeyDER.suffix(65)
        guard kind == .p256, point.count == 65, point.first == 4 else { return nil }
        return (Array(point.dropFirst().prefix(32)), Array(point.suffix(32)))
    }

    /// Signs as JSON signatures have it: the two numbers of an ECDSA signature, 32 octets each (RFC 7518 §3.4).
    ///
    /// - Throws: when the key is no P-256 one, or OpenSSL fails.
    package func signES256(_ message: [UInt8]) throws(TLSError) -> [UInt8] {
        let der = try sign(message)
        var rest = der[...]
        // SEQUENCE of two INTEGERs, none of them longer than 33 octets.
        guard kind == .p256, rest.count > 8, rest.removeFirst() == 0x30 else {
            throw TLSError(.settings, "the key does not sign by ES256")
        }
        rest.removeFirst()
        var out: [UInt8] = []
        for _ in 0..<2 {
            guard rest.count > 2, rest.removeFirst() == 0x02 else { throw TLSError(.settings, "no ECDSA signature") }
            let count = Int(rest.removeFirst())
            guard count <= rest.count, count <= 33 else { throw TLSError(.settings, "no ECDSA signature") }
            let number = rest.prefix(count).drop { $0 == 0 }
            out += [UInt8](repeating: 0, count: 32 - number.count) + number
            rest = rest.dropFirst(count)
        }
        return out
    }
}
