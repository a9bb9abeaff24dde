// MX.swift — one place to try.

/// One place to try: Haraka's MX object.
package struct MX: Hashable, Sendable, CustomStringConvertible {
    /// Lower is tried first; equal ones are shuffled.
    package var priority: UInt16
    /// A host name, an address without brackets, or the path of a Unix socket.
    package var exchange: String
    package var port: UInt16
    /// The source address to connect from; nil leaves it to the operating system.
    package var bind: IPAddress?
    /// The name to say in EHLO; nil is the relay's own.
    package var bindHelo: Domain?
    package var usingLMTP: Bool
    /// `auth_user` and what belongs to it; nil sends without AUTH.
    package var auth: Credentials?
    /// `on_auth_unavailable`.
    package var onAuthUnavailable = AuthFallback.sendWithout
    /// `tls`: the least protection; nil leaves it to `enable_tls`.
    package var tls: TLSLevel?
    /// `implicit_tls`: TLS from the first octet, as on port 465 (RFC 8314).
    package var implicitTLS = false
    /// Mail is posted there over HTTPS; nil: it speaks SMTP or LMTP.
    package var api: MailAPI?

    /// RFC 5321 §4.5.4.2.
    package static let smtpPort: UInt16 = 25
    /// LMTP has no port of its own; Haraka assumes this one.
    package static let lmtpPort: UInt16 = 24
    /// Submission over TLS from the first octet (RFC 8314 §7.3).
    package static let smtpsPort: UInt16 = 465

    package init(
        _ exchange: String,
        port: UInt16 = MX.smtpPort,
        priority: UInt16 = 0,
        bind: IPAddress? = nil,
        bindHelo: Domain? = nil,
        usingLMTP: Bool = false
    ) {
        self.exchange = exchange
        self.port = port
        self.priority = priority
        self.bind = bind
        self.bindHelo = bindHelo
        self.usingLMTP = usingLMTP
    }

    /// The host's name in normal form; empty for an address and a socket.
    package var hostName: String {
        if let api { return api.hostName }
        guard !isSocket, let domain = Domain(exchange), domain.literal == nil else { return "" }
        return domain.name
    }

    package var description: String {
        hasNoAddress ? exchange : "\(IPAddress(exchange)?.bracketed ?? exchange):\(port)"
    }

    /// `exchange` is the path of a Unix socket; it has no port and no address.
    package var isSocket: Bool { exchange.utf8.first == UInt8(ascii: "/") }

    /// No address of it is looked for: it is a socket, or somebody else finds its host.
    package var hasNoAddress: Bool { isSocket || api != nil }
}
