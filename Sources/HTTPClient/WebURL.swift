// WebURL.swift — an http or https URL, taken apart by the library that will connect to it.
//
// Guarantee: who decides by a URL's host and who connects to it see the same host, and no URL holds a login
// (`http://127.0.0.1:80@other.example/` is a URL of other.example).
// RFC 3986 §3.2, as libcurl reads it.

import CCurl

/// A URL that can be asked.
package struct WebURL: Hashable, Sendable {
    /// As it was written.
    package let text: String
    /// `https`.
    package let isSecure: Bool
    /// In lower case; an IPv6 address in brackets.
    package let host: String
    package let port: UInt16
    /// Port, path and query, as they were written.
    private let (portText, rest): (String, String)

    /// Reads a URL.
    ///
    /// - Throws: the reason, as a sentence that holds nothing of the URL.
    package init(_ text: String) throws(HTTPError) {
        func refused(_ reason: String) -> HTTPError { HTTPError(.invalidRequest, reason) }
        let schemes: [(prefix: String, isSecure: Bool)] = [("http://", false), ("https://", true)]
        guard let scheme = schemes.first(where: { text.utf8.starts(with: $0.prefix.utf8) }) else {
            throw refused("the URL does not begin with http:// or https://")
        }
        guard text.utf8.count <= 8192, text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "\\") })
        else { throw refused("the URL is too long, or holds a blank, a control character or a backslash") }
        // Whatever a parser makes of it: nothing before the path may look like a login.
        let authority = text.utf8.dropFirst(scheme.prefix.utf8.count).prefix { octet in
            ![UInt8(ascii: "/"), UInt8(ascii: "?"), UInt8(ascii: "#")].contains(octet)
        }
        guard !authority.contains(UInt8(ascii: "@")) else { throw refused("a URL may not hold a login") }
        guard !authority.isEmpty else { throw refused("the URL names no host") }
        guard let parsed = curl_url() else { throw refused("no memory for the URL") }
        defer { curl_url_cleanup(parsed) }
        let code = curl_url_set(parsed, CURLUPART_URL, text, UInt32(CURLU_DISALLOW_USER))
        guard code == CURLUE_OK else {
            throw refused("the URL cannot be understood: \(String(cString: curl_url_strerror(code)))")
        }
        guard Self.part(parsed, CURLUPART_USER) == nil, Self.part(parsed, CURLUPART_PASSWORD) == nil else {
            throw refused("a URL may not hold a login")
        }
        guard let host = Self.part(parsed, CURLUPART_HOST), !host.isEmpty,
            let port = Self.part(parsed, CURLUPART_PORT, UInt32(CURLU_DEFAULT_PORT)).flatMap({ UInt16($0) })
        else { throw refused("the URL names no host") }
        self.text = text
        self.isSecure = scheme.isSecure
        self.host = String(
            decoding: host.utf8.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 },
            as: UTF8.self
        )
        self.port = port
        let isBracketed = authority.first == UInt8(ascii: "[")
        let behindHost = authority.drop { $0 != UInt8(ascii: isBracketed ? "]" : ":") }.dropFirst(isBracketed ? 1 : 0)
        portText = String(decoding: behindHost, as: UTF8.self)
        rest = String(decoding: text.utf8.dropFirst(scheme.prefix.utf8.count + authority.count), as: UTF8.self)
    }

    /// The same with another name of its host, such as that in A-labels: libcurl makes those only where the locale allows it.
    package func with(host: String) throws(HTTPError) -> WebURL {
        try WebURL("\(isSecure ? "https" : "http")://\(host)\(portText)\(rest)")
    }

    /// Whether a request goes to the same place.
    package func isSame(as other: WebURL) -> Bool {
        isSecure == other.isSecure && host.utf8.elementsEqual(other.host.utf8) && port == other.port
            && rest.utf8.elementsEqual(other.rest.utf8)
    }

    /// The other side is this machine.
    package var isLoopback: Bool { ["127.0.0.1", "[::1]", "localhost"].contains(host) }

    /// What is sent there can be read by nobody on the way.
    package var isConfidential: Bool { isSecure || isLoopback }

    private static func part(_ parsed: OpaquePointer, _ what: CURLUPart, _ flags: UInt32 = 0) -> String? {
        var text: UnsafeMutablePointer<CChar>?
        guard curl_url_get(parsed, what, &text, flags) == CURLUE_OK, let text else { return nil }
        defer { curl_free(text) }
        return String(cString: text)
    }
}
