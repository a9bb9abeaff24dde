// RelayCertificates.swift — `relay_acl_certs`: clients that may relay because of the certificate they own.

import Mail

/// Fingerprints, one a line.
enum RelayCertificates {
    static let file = "relay_acl_certs"

    /// Reads the file's text.
    ///
    /// - Throws: every line that is no SHA-256.
    static func read(_ text: String) throws(ConfigErrors) -> Set<[UInt8]> {
        var found: Set<[UInt8]> = []
        var errors: [ConfigError] = []
        for line in PlainLines.of(text) {
            if let fingerprint = fingerprint(line.text) {
                found.insert(fingerprint)
            } else {
                let shown = ValueParsing.shown(line.text)
                let reason = "\"\(shown)\" is not a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons"
                errors.append(ConfigError(file: file, line: line.line, reason: reason))
            }
        }
        guard errors.isEmpty else { throw ConfigErrors(Array(errors.prefix(50))) }
        return found
    }

    /// `ab:cd:…` or `abcd…`, in either case, also behind OpenSSL's `sha256 Fingerprint=`.
    private static func fingerprint(_ text: String) -> [UInt8]? {
        let digits = (text.lastIndex(ofOctet: "=").map { text[text.utf8.index(after: $0)...] } ?? text[...])
            .utf8.filter { $0 != UInt8(ascii: ":") }
        guard digits.count == 64 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: 64, by: 2) {
            guard let high = value(digits[index]), let low = value(digits[index + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x41...0x46: digit - 0x37
        case 0x61...0x66: digit - 0x57
        default: nil
        }
    }
}
