// FramingGuard.swift — the header fields that frame a request, checked before anything else: what the library lets pass.
//
// libmicrohttpd 0.9.75 takes two Content-Length fields, Content-Length beside chunked, two Host fields, and names that are
// no tokens; behind a proxy that reads them otherwise, that smuggles requests (RFC 9112 §6.3, §11.2). Every copy of
// every field is looked at, and the connection ends after the answer.

import Mail

/// Checks the header of a request.
enum FramingGuard {
    private static let single: Set<String> = [
        "content-length", "transfer-encoding", "host", "authorization", "content-type", "if-match", "if-none-match",
        "idempotency-key", "expect", "origin", "x-request-id",
    ]

    /// The fields with names in lower case.
    ///
    /// - Throws: 400 when the request could be read in two ways.
    static func check(_ fields: [HeaderField]) throws(Problem) -> [String: String] {
        var found: [String: String] = [:]
        for field in fields {
            guard !field.name.isEmpty, field.name.utf8.allSatisfy(isTokenByte) else {
                throw Problem(.malformed, "a header field has a name that is no token")
            }
            guard field.value.utf8.allSatisfy({ ($0 >= 0x20 || $0 == 0x09) && $0 != 0x7F }) else {
                throw Problem(.malformed, "the header field \(field.name) holds a control character")
            }
            let name = field.name.lowercasedASCII
            if let old = found[name] {
                guard !single.contains(name) else {
                    throw Problem(.malformed, "the header field \(field.name) comes twice")
                }
                found[name] = "\(old), \(field.value)"
            } else {
                found[name] = field.value
            }
        }
        if let encoding = found["transfer-encoding"] {
            guard found["content-length"] == nil else {
                throw Problem(.malformed, "Content-Length and Transfer-Encoding together")
            }
            guard encoding.lowercasedASCII == "chunked" else {
                throw Problem(.malformed, "Transfer-Encoding may be chunked and nothing else")
            }
        }
        if let length = found["content-length"] {
            guard (1...18).contains(length.utf8.count), length.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
                throw Problem(.malformed, "Content-Length is not a number")
            }
        }
        if let expect = found["expect"], expect.lowercasedASCII != "100-continue" {
            throw Problem(.malformed, "Expect may be 100-continue and nothing else")
        }
        return found
    }

    /// RFC 9110 §5.6.2.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}
