// Capabilities.swift — what a peer offers in its reply to EHLO.
//
// RFC 5321 §4.1.1.1; the keywords are those of RFC 2920, 1870, 6152, 6531, 3461, 3030, 2034, 3207, 4954 and 8689.

package import Mail

/// The extensions of a peer.
///
/// Empty after HELO.
package struct Capabilities: Hashable, Sendable {
    package var pipelining = false
    /// The peer knows `SIZE=`.
    package var size = false
    /// The largest message the peer takes, in bytes; nil when it names no limit.
    package var sizeLimit: Int?
    package var eightBitMIME = false
    package var utf8 = false
    package var dsn = false
    package var chunking = false
    package var enhancedStatusCodes = false
    package var startTLS = false
    package var requireTLS = false
    /// SASL mechanisms in upper case.
    package var mechanisms: [String] = []

    package init() {}

    /// Reads the reply to EHLO or LHLO: the first line is a greeting, every other one a keyword with parameters.
    ///
    /// What we do not know is skipped, and so is a number that is none.
    package init(_ reply: Reply) {
        for line in reply.lines.dropFirst() {
            let words = line.words
            guard let keyword = words.first?.uppercasedASCII else { continue }
            take(keyword, words.dropFirst())
        }
    }

    private mutating func take(_ keyword: String, _ parameters: ArraySlice<Substring>) {
        switch keyword {
        case "PIPELINING": pipelining = true
        case "SIZE":
            size = true
            // RFC 1870 §3: zero, or no number, means no fixed limit.
            if let number = parameters.first.flatMap({ Int($0) }), number > 0 { sizeLimit = number }
        case "8BITMIME": eightBitMIME = true
        case "SMTPUTF8": utf8 = true
        case "DSN": dsn = true
        case "CHUNKING": chunking = true
        case "ENHANCEDSTATUSCODES": enhancedStatusCodes = true
        case "STARTTLS": startTLS = true
        case "REQUIRETLS": requireTLS = true
        case "AUTH": mechanisms += parameters.map { $0.uppercasedASCII }
        default:
            // Old servers write `AUTH=LOGIN`.
            if let first = keyword.rest(behind: "AUTH=") {
                mechanisms.append(String(first))
                mechanisms += parameters.map { $0.uppercasedASCII }
            }
        }
    }
}
