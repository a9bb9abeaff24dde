// ResolverSettings+Keys.swift — the keys of `resolver.ini`.

import Mail

extension ResolverSettings: KeyedSettings {
    package static let file = "resolver.ini"

    package static let keys: [SettingKey<ResolverSettings>] = [
        SettingKey("forward") { (text, target) throws(ValueError) in
            target.forward = try forwarders(text)
        },
        SettingKey("trust_anchor_file") { (text, target) throws(ValueError) in
            guard !text.utf8.contains(0) else { throw ValueError("a path cannot hold a NUL") }
            target.trustAnchorFile = text.isEmpty ? nil : text
        },
        .boolean("hosts", \.readsHosts),
        SettingKey("route_hosts") { (text, target) throws(ValueError) in
            guard !text.utf8.contains(0) else { throw ValueError("a path cannot hold a NUL") }
            target.hostsFile = text.isEmpty ? nil : text
        },
        SettingKey("search") { (text, target) throws(ValueError) in target.search = try search(text) },
    ]

    package static let quietKeys: [SettingKey<ResolverSettings>] = []

    /// `example.org, example.net`; `none`; empty: those of the system.
    private static func search(_ text: String) throws(ValueError) -> [Domain]? {
        if text.isEmpty { return nil }
        if text.lowercasedASCII.isSame(octets: "none") { return [] }
        var found: [Domain] = []
        for piece in ValueParsing.list(text) {
            guard let domain = Domain(piece), domain.literal == nil else {
                throw ValueError("\"\(ValueParsing.shown(piece))\" is not a domain such as example.org")
            }
            found.append(domain)
        }
        guard found.count <= 16 else { throw ValueError("more than 16 domains") }
        return found
    }

    /// `192.0.2.53, 127.0.0.1@5353, 2001:db8::53@53`: libunbound's own form.
    private static func forwarders(_ text: String) throws(ValueError) -> [String] {
        var found: [String] = []
        for piece in ValueParsing.list(text) {
            let parts = piece.split(octet: "@", maxSplits: 1, omittingEmpty: false)
            let ip = parts.first.flatMap { IPAddress($0) }
            let port = parts.count == 2 ? ValueParsing.digits(parts[1]) : 53
            guard let ip, let port, (1...65_535).contains(port) else {
                throw ValueError("\"\(ValueParsing.shown(piece))\" is not ip or ip@port")
            }
            found.append("\(ip)@\(port)")
        }
        return found
    }
}
