// HostsFile.swift — /etc/hosts: addresses of names as this machine has them, where containers write their `extra_hosts`.
//
// It is a file of the machine's and not ours: read as octets, within a bound, and what cannot be read is passed over.
// Source: hosts(5)

package import Mail

/// What a hosts file says.
package struct HostsFile: Sendable {
    /// Addresses of one name; more are passed over.
    private static let mostAddresses = 16
    /// Names in all; what stands behind them is passed over.
    private static let mostNames = 100_000

    private var table: [String: [IPAddress]] = [:]

    package init() {}

    /// Reads the text; of a line that is no address with names nothing counts.
    package init(parsing text: [UInt8]) {
        for line in text.split(octet: "\n") {
            let words = line.prefix { $0 != UInt8(ascii: "#") }.split { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
            guard let first = words.first, let text = String(validating: first, as: UTF8.self),
                let address = IPAddress(text)
            else { continue }
            for word in words.dropFirst() {
                guard table.count < Self.mostNames else { return }
                guard let text = String(validating: word, as: UTF8.self), let name = Domain(text) else { continue }
                var known = table[name.name] ?? []
                guard known.count < Self.mostAddresses, !known.contains(address) else { continue }
                known.append(address)
                table[name.name] = known
            }
        }
    }

    /// The addresses of a name, IPv4 first; empty when it is not there.
    package func addresses(of name: Domain) -> [IPAddress] {
        let found = table[name.name] ?? []
        return found.filter { !$0.isV6 } + found.filter(\.isV6)
    }
}
