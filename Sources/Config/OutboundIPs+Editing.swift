// OutboundIPs+Editing.swift — sections of `outbound_ip.ini` as the API shows and writes them.

package import Mail

/// A section of `outbound_ip.ini` as the API shows it.
package struct OutboundIPEntry: Hashable, Sendable {
    /// As in the brackets, in normal form.
    package let match: String
    package let addresses: [IPAddress]
    package let helo: Domain?
    /// The pool that its mail leaves from.
    package let pool: String?
    /// Of a pool: its addresses, each as the file has it.
    package let members: [String]

    package init(
        match: String,
        addresses: [IPAddress] = [],
        helo: Domain? = nil,
        pool: String? = nil,
        members: [String] = []
    ) {
        (self.match, self.addresses, self.helo, self.pool, self.members) = (match, addresses, helo, pool, members)
    }

    /// It is a pool, and binds nothing.
    package var isPool: Bool { match.starts(withOctets: "pool ") }
}

extension OutboundIPs {
    /// The normal form of a section's name; nil for what may not stand in the brackets.
    package static func normalized(_ match: String) -> String? {
        poolName(match).map { "pool \($0)" } ?? Subject(match)?.description
    }

    /// The sections that a file has, in their order; those that are not understood are left out.
    package static func entries(in document: INIDocument) -> [OutboundIPEntry] {
        document.blocks.compactMap { block in
            guard let match = normalized(block.name) else { return nil }
            let addresses = block.entries.filter { $0.key == "ip" }.flatMap { ValueParsing.list($0.value) }
                .compactMap { IPAddress($0) ?? IPAddress(literal: $0) }
            return OutboundIPEntry(
                match: match,
                addresses: addresses,
                helo: block.entries.last { $0.key == "helo" }.flatMap { Domain($0.value) },
                pool: block.entries.last { $0.key == "pool" }?.value,
                members: block.entries.filter { $0.key == "address" }.map(\.value)
            )
        }
    }

    /// Writes a section, new or changed.
    ///
    /// - Throws: for a name that may not stand in the brackets.
    package static func put(_ entry: OutboundIPEntry, in document: inout INIDocument) throws(ConfigError) {
        guard let match = normalized(entry.match) else {
            throw ConfigError(file: file, reason: unknown(entry.match))
        }
        let section = document.sections.first { normalized($0) == match } ?? match
        let text = entry.addresses.map(\.description).joined(separator: ", ")
        try document.set("address", toAll: entry.members, in: section)
        try document.set("ip", toAll: entry.addresses.isEmpty ? [] : [text], in: section)
        try document.set("pool", toAll: entry.pool.map { [$0] } ?? [], in: section)
        try document.set("helo", toAll: entry.helo.map { [$0.name] } ?? [], in: section)
    }

    /// Takes a section away.
    ///
    /// - Returns: false when there is none.
    package static func remove(_ match: String, in document: inout INIDocument) -> Bool {
        guard let match = normalized(match), let section = document.sections.first(where: { normalized($0) == match })
        else { return false }
        document.removeSection(section)
        return true
    }
}
