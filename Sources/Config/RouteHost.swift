// RouteHost.swift — one host of an `mx` line as it is written.

import Mail

/// A host with the properties of its own line.
struct RouteHost {
    var mx: MX
    /// The port is written behind the host.
    let hasPort: Bool
    /// `name=value` as written.
    let words: [(name: Substring, value: String)]
    /// The words, typed; filled by the reader of the section.
    var properties = RouteProperties()

    /// Hosts between commas and blanks; words hold for the hosts before them up to the last comma.
    ///
    /// - Throws: ``ValueError`` for what is no host, and when there is none.
    static func parse(_ text: String) throws(ValueError) -> [RouteHost] {
        var found: [RouteHost] = []
        for item in text.utf8.split(separator: UInt8(ascii: ",")) {
            var hosts: [(mx: MX, hasPort: Bool)] = []
            var words: [(Substring, String)] = []
            for bytes in item.split(whereSeparator: { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }) {
                let word = Substring(bytes)
                if let equals = word.utf8.firstIndex(of: UInt8(ascii: "=")) {
                    guard !hosts.isEmpty else {
                        throw ValueError("\(ValueParsing.shown(word)) comes before its host")
                    }
                    words.append((word[..<equals], String(word[word.utf8.index(after: equals)...])))
                } else {
                    guard let host = MX.parse(word) else {
                        throw ValueError(
                            "\"\(ValueParsing.shown(word))\" is not host, host:port, ip, ip:port, [v6]:port or a socket's path"
                        )
                    }
                    hosts.append(host)
                }
            }
            for host in hosts { found.append(RouteHost(mx: host.mx, hasPort: host.hasPort, words: words)) }
        }
        guard !found.isEmpty else { throw ValueError("mx names no host") }
        return found
    }
}
