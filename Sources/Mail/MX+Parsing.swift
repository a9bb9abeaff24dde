// MX+Parsing.swift — the string forms of an MX: in `routes.ini`, from hooks, from the API.

extension MX {
    /// Unix knows no longer path of a socket.
    private static let longestPath = 107

    /// Reads the source document's string forms: `host`, `host:port`, `ip`, `ip:port`, `[v6]`, `[v6]:port`, bare `v6`;
    /// Haraka's URLs `smtp://user:pass@host:port` and `lmtp://…`; and `/path`, `unix:/path`, `lmtp:///path` of a socket; and the places of ``MailAPI``.
    ///
    /// - Returns: nil when the host is no valid name, address or path, or the port is not 1…65535.
    package init?(parsing text: some StringProtocol) {
        guard let parsed = Self.parse(text) else { return nil }
        self = parsed.mx
    }

    /// As ``init(parsing:)``, and whether the port was written or is the usual one.
    package static func parse(_ text: some StringProtocol) -> (mx: MX, hasPort: Bool)? {
        if let scheme = ["smtp://", "smtps://", "lmtp://"].first(where: { text.utf8.starts(with: $0.utf8) }) {
            return url(text.dropping(octets: scheme.utf8.count), scheme)
        }
        if let api = MailAPI.parse(text) { return api.map { posted($0) } }
        if text.utf8.starts(with: "unix:".utf8) { return socket(text.dropFirst(5)) }
        return text.utf8.first == UInt8(ascii: "/") ? socket(text) : place(Substring(text))
    }

    private static func url(_ text: Substring, _ scheme: String) -> (mx: MX, hasPort: Bool)? {
        var text = text
        if scheme == "lmtp://", text.utf8.first == UInt8(ascii: "/") { return socket(text) }
        if text.utf8.last == UInt8(ascii: "/") { text = Substring(text.utf8.dropLast()) }
        var auth: Credentials?
        if let at = text.utf8.lastIndex(of: UInt8(ascii: "@")) {
            let login = text[..<at].split(octet: ":", maxSplits: 1, omittingEmpty: false)
            guard login.count == 2, let user = PercentEncoding.decoded(login[0]),
                let password = PercentEncoding.decoded(login[1]), !user.isEmpty,
                !password.isEmpty
            else { return nil }
            auth = Credentials(user: user, password: password)
            text = text[text.utf8.index(after: at)...]
        }
        guard let (place, hasPort) = place(text) else { return nil }
        var mx = place
        mx.auth = auth
        mx.usingLMTP = scheme == "lmtp://"
        mx.implicitTLS = scheme == "smtps://"
        if !hasPort { mx.port = mx.usingLMTP ? lmtpPort : mx.implicitTLS ? smtpsPort : smtpPort }
        return (mx, hasPort)
    }

    private static func posted(_ api: MailAPI) -> (mx: MX, hasPort: Bool) {
        var mx = MX(api.place, port: 0)
        mx.api = api
        return (mx, true)
    }

    private static func socket(_ path: some StringProtocol) -> (mx: MX, hasPort: Bool)? {
        let bytes = path.utf8
        guard bytes.first == UInt8(ascii: "/"), (2...longestPath).contains(bytes.count),
            bytes.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: ",") })
        else { return nil }
        return (MX(String(path), port: 0, usingLMTP: true), true)
    }

    private static func place(_ text: Substring) -> (mx: MX, hasPort: Bool)? {
        if let address = IPAddress(text) { return (MX(address.description), false) }
        var host = text
        var port: UInt16?
        // By bytes: a table may hold a hundred thousand of these.
        let closing = host.utf8.first == UInt8(ascii: "[") ? host.utf8.lastIndex(of: UInt8(ascii: "]")) : nil
        if let colon = host.utf8.lastIndex(of: UInt8(ascii: ":")), closing.map({ colon > $0 }) ?? true {
            let digits = host[host.utf8.index(after: colon)...]
            guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = UInt16(digits), number > 0 else {
                return nil
            }
            port = number
            host = host[..<colon]
        }
        if let address = IPAddress(literal: host) ?? IPAddress(host) {
            return (MX(address.description, port: port ?? smtpPort), port != nil)
        }
        guard let name = Domain(host), name.literal == nil else { return nil }
        return (MX(name.name, port: port ?? smtpPort), port != nil)
    }
}
