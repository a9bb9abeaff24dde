// HTTPRequest.swift — a question to an HTTP server, and what came back.

/// A request.
///
/// The defaults are those of a careful client: verified TLS, no redirects, no proxy, bounded time and size.
package struct HTTPRequest: Sendable {
    /// `GET`, `POST` and so on.
    package var method: String
    /// `http://` or `https://`; with ``unixSocket`` the host only fills the `Host` header.
    package var url: String
    /// Name and value; sent in this order.
    package var headers: [(name: String, value: String)]
    /// nil sends no body and no `Content-Length`.
    package var body: [UInt8]?
    /// Connects to this path instead of the URL's host.
    package var unixSocket: String?
    /// Addresses to connect to instead of asking the system for the URL's host, tried in order until one answers.
    ///
    /// Name and certificate are still the URL's.
    package var addresses: [String] = []
    /// What the URL's host was found to be; where a proxy is used, it finds the host by itself.
    package var knownAddresses: [String] = []
    /// From the call to the last byte of the answer.
    package var timeout: Duration = .seconds(30)
    /// Larger bodies end the transfer with ``HTTPError/Kind/tooLarge``.
    package var maxResponseBytes = 1 << 20
    /// The status is what counts: a larger body is cut, and no error.
    package var cutsLongBody = false
    /// A PEM file of authorities to trust instead of the system's.
    package var caFile: String?
    /// Honour `https_proxy`, `http_proxy` and `no_proxy`.
    package var usesProxyOfEnvironment = false

    package init(
        _ method: String = "GET",
        _ url: String,
        headers: [(name: String, value: String)] = [],
        body: [UInt8]? = nil,
        unixSocket: String? = nil
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.unixSocket = unixSocket
    }
}

/// An answer of any status; redirects are answers too.
package struct HTTPResponse: Sendable {
    package let status: Int
    /// Names in lower case, in the order of the answer.
    package let headers: [(name: String, value: String)]
    package let body: [UInt8]

    package init(status: Int, headers: [(name: String, value: String)], body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// The first header of a name, given in lower case.
    package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }

    /// The body as text; what is not UTF-8 is replaced.
    package var text: String { String(decoding: body, as: UTF8.self) }
}

/// Why there is no answer.
package struct HTTPError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of trouble, for those who decide by it.
    package enum Kind: Hashable, Sendable {
        /// The request itself makes no sense: nothing was sent.
        case invalidRequest
        case cannotResolve, cannotConnect
        /// TLS failed, or the certificate is not to be trusted.
        case tls
        case timedOut
        /// The answer is larger than ``HTTPRequest/maxResponseBytes``.
        case tooLarge
        /// The connection broke, or the other side does not speak HTTP.
        case broken
    }

    package let kind: Kind
    /// A sentence for a log line or a person.
    package let text: String

    package init(_ kind: Kind, _ text: String) {
        self.kind = kind
        self.text = text
    }

    package var description: String { text }
}
