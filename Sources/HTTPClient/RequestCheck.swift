// RequestCheck.swift — refuses a request that could become another one on the wire: header injection, other protocols.

enum RequestCheck {
    /// - Throws: ``HTTPError/Kind/invalidRequest`` with the reason.
    static func check(_ request: HTTPRequest) throws(HTTPError) {
        guard !request.method.isEmpty, request.method.utf8.allSatisfy(isToken) else {
            throw HTTPError(.invalidRequest, "the HTTP method is not a word of letters")
        }
        _ = try WebURL(request.url)
        for header in request.headers {
            guard !header.name.isEmpty, header.name.utf8.allSatisfy(isToken) else {
                throw HTTPError(.invalidRequest, "the name of an HTTP header is not a word of letters")
            }
            guard header.value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
                throw HTTPError(.invalidRequest, "the HTTP header \(header.name) holds a control character")
            }
        }
        guard request.unixSocket?.utf8.contains(0) != true, request.caFile?.utf8.contains(0) != true else {
            throw HTTPError(.invalidRequest, "a path holds a NUL")
        }
    }

    /// `tchar` of RFC 9110 §5.6.2.
    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}
