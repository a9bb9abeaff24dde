// OutboundIPs+Reading.swift — `outbound_ip.ini` into bindings, and bindings into `outbound_ip.ini`.

package import Mail

extension OutboundIPs {
    /// The file's name in the configuration directory.
    package static let file = "outbound_ip.ini"

    private static let names = ["ip", "helo"]

    /// Reads all bindings, without a look at the machine.
    ///
    /// - Throws: all errors of the file (at most 50), each with its line.
    package static func read(_ document: INIDocument) throws(ConfigErrors) -> OutboundIPs {
        var surroundings = Surroundings()
        return try read(document, in: &surroundings)
    }

    /// Reads all bindings.
    ///
    /// - Throws: all errors of the file (at most 50), each with its line; an address that is not one of this machine too.
    static func read(_ document: INIDocument, in surroundings: inout Surroundings) throws(ConfigErrors) -> OutboundIPs {
        var table = OutboundIPs()
        var report = SectionReport(document, file: file, expecting: "[sender …]")
        for section in document.blocks where report.hasRoom {
            guard let subject = Subject(section.name) else {
                report.fail(section.line, unknown(section.name))
                continue
            }
            guard report.isFirst(subject.description, section.line) else { continue }
            let errors = report.count
            var addresses: [IPAddress] = []
            var helo: Domain?
            for entry in section.entries {
                do throws(ValueError) {
                    switch entry.key {
                    case "ip":
                        for piece in ValueParsing.list(entry.value) {
                            addresses.append(try surroundings.ownAddress(piece))
                        }
                    case "helo": helo = try RouteProperties.host(entry.value, "helo")
                    default:
                        let hint = NearestName.hint(for: entry.key, among: names)
                        throw ValueError("unknown key \(ValueParsing.shown(entry.key))\(hint)")
                    }
                } catch {
                    report.fail(entry.line, error.reason)
                }
            }
            if report.count > errors { continue }
            guard !addresses.isEmpty else {
                report.fail(section.line, "[\(subject.description)] has no ip")
                continue
            }
            guard let source = Source(addresses, helo: helo) else {
                report.fail(section.line, "[\(subject.description)] has more than one address of a family")
                continue
            }
            table.add(Binding(match: subject.description, source: source), for: subject)
        }
        try report.finish()
        return table
    }

    private static func unknown(_ name: String) -> String {
        "[\(ValueParsing.shown(name))] is not sender, user, client or recipient with what it should be, nor *; for example "
            + "[sender example.org], [user app], [client 10.0.0.0/8], [recipient example.com]"
    }
}

/// A section of `outbound_ip.ini` as the API shows it.
package struct OutboundIPEntry: Hashable, Sendable {
    /// As in the brackets, in normal form.
    package let match: String
    package let addresses: [IPAddress]
    package let helo: Domain?

    package init(match: String, addresses: [IPAddress], helo: Domain?) {
        self.match = match
        self.addresses = addresses
        self.helo = helo
    }
}

extension OutboundIPs {
    /// The normal form of a section's name; nil for what may not stand in the brackets.
    package static func normalized(_ match: String) -> String? { Subject(match)?.description }

    /// The sections that a file has, in their order; those that are not understood are left out.
    package static func entries(in document: INIDocument) -> [OutboundIPEntry] {
        document.blocks.compactMap { block in
            guard let match = normalized(block.name) else { return nil }
            let addresses = block.entries.filter { $0.key == "ip" }.flatMap { ValueParsing.list($0.value) }
                .compactMap { IPAddress($0) ?? IPAddress(literal: $0) }
            let helo = block.entries.last { $0.key == "helo" }.flatMap { Domain($0.value) }
            return OutboundIPEntry(match: match, addresses: addresses, helo: helo)
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
        try document.set("ip", toAll: [text], in: section)
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
