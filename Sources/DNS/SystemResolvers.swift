// SystemResolvers.swift — the resolvers of this machine, as resolv.conf(5) names them.

import Glibc
import Mail

/// Reads `/etc/resolv.conf`.
enum SystemResolvers {
    /// As much of the file as is looked at, bytes.
    private static let most = 64 << 10

    /// Addresses, at least one: without any the local machine is asked, says resolv.conf(5).
    static func read(_ path: String = "/etc/resolv.conf") -> [String] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return ["127.0.0.1"] }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: most)
        let count = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
        return parse(String(decoding: bytes.prefix(max(0, count)), as: UTF8.self))
    }

    /// The addresses behind `nameserver`; one with a zone (`fe80::1%eth0`) is left as it is.
    static func parse(_ text: String) -> [String] {
        var found: [String] = []
        for line in text.utf8.split(octet: "\n") {
            let words = line.split { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }.map {
                String(decoding: $0, as: UTF8.self)
            }
            guard words.count >= 2, words[0].isSame(octets: "nameserver") else { continue }
            let address = words[1].split(octet: "%").first.map(String.init) ?? ""
            if IPAddress(address) != nil, !found.contains(words[1]) { found.append(words[1]) }
        }
        return found.isEmpty ? ["127.0.0.1"] : found
    }
}
