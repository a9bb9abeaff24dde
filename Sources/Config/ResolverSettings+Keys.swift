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
    ]

    package static let quietKeys: [SettingKey<ResolverSettings>] = []

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
