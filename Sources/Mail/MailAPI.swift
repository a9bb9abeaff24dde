// MailAPI.swift — next hops that take mail over HTTPS instead of SMTP, as `routes.ini` names them.
//
//     https+graph:                              Microsoft Graph
//     https+graph://graph.microsoft.us          the same of another cloud
//     https+ses:eu-west-1                       Amazon SES v2 in a region
//     https+ses://vpce-1.example.com/eu-west-1  the same behind another host
//
// Guarantee: `http+…` is taken on loopback alone, where nobody reads along.

/// An interface for mail that is posted.
package indirect enum MailAPI: Hashable, Sendable {
    /// `POST /v1.0/users/MAILBOX/sendMail`.
    case graph(base: String)
    /// `POST /v2/email/outbound-emails`.
    case ses(base: String, region: String)

    /// Where requests go: a URL without a path.
    package var base: String {
        switch self {
        case .graph(let base), .ses(let base, _): base
        }
    }

    /// The word of it.
    package var name: String {
        switch self {
        case .graph: "graph"
        case .ses: "ses"
        }
    }

    /// Octets of a message that it takes at most.
    ///
    /// Graph takes 4 MB in base64, SES 40 MB; what is left is for fields that are added.
    package var limit: Int {
        switch self {
        case .graph: 3_000_000
        case .ses: 29_000_000
        }
    }

    /// Recipients of one request.
    package var mostRecipients: Int {
        switch self {
        case .graph: 500
        case .ses: 50
        }
    }
}

extension MailAPI {
    private static let graphBase = "https://graph.microsoft.com"

    /// Reads a place of `routes.ini`.
    ///
    /// - Returns: nil for what does not begin like one; a place without a meaning is `.some(nil)`.
    static func parse(_ text: some StringProtocol) -> MailAPI?? {
        for (prefix, scheme) in [("https+", "https://"), ("http+", "http://")] {
            guard let rest = text.rest(behind: prefix) else { continue }
            if let place = rest.rest(behind: "graph:") { return .some(graph(place, scheme)) }
            if let place = rest.rest(behind: "ses:") { return .some(ses(place, scheme)) }
            return .some(nil)
        }
        return nil
    }

    private static func graph(_ place: Substring, _ scheme: String) -> MailAPI? {
        if place.isEmpty { return scheme == "https://" ? .graph(base: graphBase) : nil }
        guard let (base, path) = base(place, scheme), path.isEmpty else { return nil }
        return .graph(base: base)
    }

    private static func ses(_ place: Substring, _ scheme: String) -> MailAPI? {
        guard place.starts(withOctets: "//") else {
            guard isRegion(place), scheme == "https://" else { return nil }
            let end = place.starts(withOctets: "cn-") ? "amazonaws.com.cn" : "amazonaws.com"
            return .ses(base: "https://email.\(place).\(end)", region: String(place))
        }
        guard let (base, path) = base(place, scheme) else { return nil }
        if !path.isEmpty { return isRegion(path) ? .ses(base: base, region: String(path)) : nil }
        // `email.REGION.amazonaws.com` says it itself.
        let labels = base.split(octet: "/").last?.split(octet: ".") ?? []
        guard labels.count >= 4, labels[0].starts(withOctets: "email"), isRegion(labels[1]) else { return nil }
        return .ses(base: base, region: String(labels[1]))
    }

    /// `//host:port/path` as a URL without a path, and the path.
    private static func base(_ place: Substring, _ scheme: String) -> (base: String, path: Substring)? {
        guard let rest = place.rest(behind: "//") else { return nil }
        let parts = rest.split(octet: "/", maxSplits: 1, omittingEmpty: false)
        guard let host = parts.first, !host.isEmpty, let parsed = MX.parse(host), parsed.mx.api == nil,
            parsed.mx.auth == nil, !parsed.mx.isSocket
        else { return nil }
        let isLoopback = IPAddress(parsed.mx.exchange)?.isLoopback ?? parsed.mx.exchange.isSame(octets: "localhost")
        guard scheme == "https://" || isLoopback else { return nil }
        let name = IPAddress(parsed.mx.exchange)?.bracketed ?? parsed.mx.exchange
        return ("\(scheme)\(name)\(parsed.hasPort ? ":\(parsed.mx.port)" : "")", parts.count > 1 ? parts[1] : "")
    }

    private static func isRegion(_ text: Substring) -> Bool {
        (1...40).contains(text.utf8.count)
            && text.utf8.allSatisfy { octet in
                (0x61...0x7A).contains(octet) || (0x30...0x39).contains(octet) || octet == UInt8(ascii: "-")
            }
    }

    /// As `routes.ini` has it, in normal form.
    package var place: String {
        let rest = base.dropping(octets: base.starts(withOctets: "https:") ? 6 : 5)
        let scheme = base.starts(withOctets: "https:") ? "https" : "http"
        switch self {
        case .graph: return "\(scheme)+graph:\(rest)"
        case .ses(_, let region): return "\(scheme)+ses:\(rest)/\(region)"
        }
    }

    /// The host that is asked, without a port.
    var hostName: String {
        let authority = base.split(octet: "/").last ?? ""
        return MX.parse(authority)?.mx.hostName ?? ""
    }
}
