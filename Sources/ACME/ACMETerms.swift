// ACMETerms.swift — what is asked of an authority, what it is proved with, and why there is no certificate.

package import HTTPClient

/// What is asked of an authority.
package struct ACMETerms: Hashable, Sendable {
    /// How it is proved that a name is ours.
    package enum Challenge: String, Hashable, Sendable, CaseIterable {
        /// A file at port 80 of the name (RFC 8555 §8.3).
        case http = "http-01"
        /// A TXT record (RFC 8555 §8.4).
        case dns = "dns-01"
    }

    /// An account at the authority that was made otherwise.
    package struct Binding: Hashable, Sendable {
        package var id: String
        package var key: [UInt8]

        package init(id: String, key: [UInt8]) { (self.id, self.key) = (id, key) }
    }

    /// Where the authority says what it offers.
    package var directory: String
    /// Host names in A-labels; a wildcard needs the DNS.
    package var names: [String]
    package var challenge = Challenge.http
    package var contact: String?
    /// Its terms of service are agreed to.
    package var agrees = false
    package var binding: Binding?
    /// PEM file of the authorities that the server is believed by; nil: the system's.
    package var caFile: String?

    package init(directory: String, names: [String]) { (self.directory, self.names) = (directory, names) }
}

/// Answers challenges.
package struct Challenger: Sendable {
    /// Puts the answer for a name where the authority looks: the token and its key authorization, or a TXT record.
    package let open: @Sendable (_ name: String, _ token: String, _ value: String) throws(ACMEError) -> Void
    /// Takes it away.
    package let close: @Sendable (_ name: String, _ token: String, _ value: String) -> Void

    package init(
        open: @escaping @Sendable (_ name: String, _ token: String, _ value: String) throws(ACMEError) -> Void,
        close: @escaping @Sendable (_ name: String, _ token: String, _ value: String) -> Void
    ) {
        (self.open, self.close) = (open, close)
    }
}

/// How the world is reached; blocks.
package struct ACMEWorld: Sendable {
    package let send: @Sendable (HTTPRequest) -> Result<HTTPResponse, HTTPError>
    /// Waits for so many seconds.
    package let pause: @Sendable (Int) -> Void

    package init(
        send: @escaping @Sendable (HTTPRequest) -> Result<HTTPResponse, HTTPError>,
        pause: @escaping @Sendable (Int) -> Void
    ) {
        (self.send, self.pause) = (send, pause)
    }
}

/// Why there is no certificate.
package struct ACMEError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A sentence; what the authority said is in it, printable.
    package let reason: String
    /// The authority's kind of trouble, such as `rateLimited`.
    package let kind: String?
    /// Seconds for which the authority wants to hear nothing.
    package let retryAfter: Int?

    package init(_ reason: String, kind: String? = nil, retryAfter: Int? = nil) {
        (self.reason, self.kind, self.retryAfter) = (reason, kind, retryAfter)
    }

    package var description: String { reason }
}
