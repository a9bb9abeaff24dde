// SearchList.swift — `search` and `ndots` of /etc/resolv.conf: what is put behind short names.
//
// Source: resolv.conf(5)

package import Mail

/// Domains that are tried behind a short name.
package struct SearchList: Hashable, Sendable {
    /// Domains that are used; what stands behind them is passed over.
    private static let most = 16
    /// The highest `ndots`, as resolv.conf(5) has it.
    private static let highest = 15

    package var domains: [Domain] = []
    /// A name with fewer dots is a short one.
    package var dots = 1

    package init(domains: [Domain] = [], dots: Int = 1) {
        self.domains = domains
        self.dots = dots
    }

    /// Reads resolv.conf: the last `search` or `domain` counts, and the last `options ndots:N`.
    package init(parsing text: [UInt8]) {
        for line in text.split(octet: "\n") {
            let words = line.split { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }.compactMap {
                String(validating: $0, as: UTF8.self)
            }
            guard let key = words.first else { continue }
            let rest = words.dropFirst().prefix {
                $0.utf8.first != UInt8(ascii: "#") && $0.utf8.first != UInt8(ascii: ";")
            }
            if key.isSame(octets: "search") || key.isSame(octets: "domain") {
                let most = key.isSame(octets: "domain") ? 1 : Self.most
                domains = rest.compactMap { Domain($0) }.filter { $0.literal == nil }.prefix(most).map(\.self)
            } else if key.isSame(octets: "options") {
                for option in rest {
                    if let number = option.rest(behind: "ndots:"), let value = Int(number), value >= 0 {
                        dots = min(value, Self.highest)
                    }
                }
            }
        }
    }

    /// What a name may mean, in the order to ask: with the domain that is put behind it, or nil for the name as it is.
    ///
    /// A name without a dot is looked for in the domains first, unless `ndots` is 0. One with dots, but fewer than `ndots`,
    /// is taken as it is first, unlike resolv.conf(5) has it: a provider's name is not to be asked for in everybody else's
    /// domains before its own.
    package func meanings(of name: Domain) -> [(name: Domain, behind: Domain?)] {
        let plain: [(name: Domain, behind: Domain?)] = [(name, nil)]
        let count = name.name.utf8.count { $0 == UInt8(ascii: ".") }
        let isShort = count < dots
        guard isShort || count == 0 else { return plain }
        let longer = domains.compactMap { domain in
            Domain("\(name.name).\(domain.name)").map { (name: $0, behind: Optional(domain)) }
        }
        return count == 0 && isShort ? longer + plain : plain + longer
    }
}
