// RelayNetworks.swift — the lines of `relay_acl_allow`: read as they stand, and edited so that every other byte stays.

package import Mail

/// `relay_acl_allow` as a list that is edited.
package enum RelayNetworks {
    /// The file's name in the configuration directory.
    package static let file = SettingsReader.relayFile
    /// Octets of a comment.
    private static let longest = 200

    /// One line.
    package struct Entry: Hashable, Sendable {
        package let network: IPNetwork
        /// What stands behind ` ;` or ` #`; nil: nothing.
        package let comment: String?

        package init(_ network: IPNetwork, comment: String? = nil) {
            self.network = network
            self.comment = comment
        }

        fileprivate var line: String { "\(network)\(comment.map { " ; \($0)" } ?? "")" }
    }

    /// The networks of a text, in their order; lines that are none are left out.
    package static func entries(in text: String) -> [Entry] {
        let lines = lines(of: text)
        return PlainLines.of(text).compactMap { line in
            IPNetwork(line.text).map { Entry($0, comment: comment(of: lines[line.line - 1])) }
        }
    }

    /// Whether two names are of the same network.
    package static func isSame(_ a: IPNetwork, _ b: IPNetwork) -> Bool {
        a.prefix == b.prefix && a.contains(b.address)
    }

    /// The text with a network in it, on its line if it has one, else behind the last.
    ///
    /// - Parameter text: empty for a file that is missing, which is made with `seed` in front.
    /// - Throws: for a comment that would not read back.
    package static func putting(_ entry: Entry, into text: String, seed: [IPNetwork]) throws(ConfigError) -> String {
        if let comment = entry.comment {
            guard (1...longest).contains(comment.utf8.count),
                !comment.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }),
                comment.trimmed.isSame(octets: comment)
            else { throw ConfigError(file: file, reason: "a comment has 1 to \(longest) octets without controls") }
        }
        var lines = lines(of: text)
        if let index = index(of: entry.network, in: text) {
            if entries(in: text).contains(where: { isSame($0.network, entry.network) && $0.comment == entry.comment }) {
                return text
            }
            let isFed = lines[index].ends(withOctets: "\r")
            lines[index] = entry.line + (isFed ? "\r" : "")
        } else {
            if text.isEmpty { lines = seed.filter { !isSame($0, entry.network) }.map { "\($0)" } }
            lines.append(entry.line)
        }
        return joined(lines)
    }

    /// The text without a network.
    ///
    /// - Returns: nil when it is not there.
    package static func removing(_ network: IPNetwork, from text: String) -> String? {
        guard var place = index(of: network, in: text) else { return nil }
        var lines = lines(of: text)
        var left = text
        // As often as it is there.
        repeat {
            lines.remove(at: place)
            left = joined(lines)
            guard let next = index(of: network, in: left) else { return left }
            place = next
        } while true
    }

    private static func index(of network: IPNetwork, in text: String) -> Int? {
        PlainLines.of(text).first { IPNetwork($0.text).map { isSame($0, network) } ?? false }.map { $0.line - 1 }
    }

    private static func lines(of text: String) -> [String] {
        var lines = text.split(octet: "\n", omittingEmpty: false).map { String($0) }
        if lines.last?.isEmpty ?? false { lines.removeLast() }
        return lines
    }

    private static func joined(_ lines: [String]) -> String { lines.map { "\($0)\n" }.joined() }

    private static func comment(of line: String) -> String? {
        let octets = line.utf8
        let start = octets.indices.first { index in
            guard octets[index] == UInt8(ascii: ";") || octets[index] == UInt8(ascii: "#") else { return false }
            return index == octets.startIndex || octets[octets.index(before: index)] <= 0x20
        }
        guard let start else { return nil }
        let rest = Substring(octets[octets.index(after: start)...])
        let text = String(rest.ends(withOctets: "\r") ? Substring(rest.utf8.dropLast()).trimmed : rest.trimmed)
        return text.isEmpty ? nil : text
    }
}
