// OutboundIPs+Reading.swift — `outbound_ip.ini` into bindings and pools.

package import Mail

extension OutboundIPs {
    /// The file's name in the configuration directory.
    package static let file = "outbound_ip.ini"

    private static let names = ["ip", "pool", "helo"]

    /// Reads all bindings, without a look at the machine.
    ///
    /// - Throws: all errors of the file (at most 50), each with its line.
    package static func read(_ document: INIDocument) throws(ConfigErrors) -> OutboundIPs {
        var surroundings = Surroundings()
        return try read(document, in: &surroundings)
    }

    /// Reads all bindings.
    ///
    /// - Throws: all errors of the file (at most 50), each with its line; an address that is not one of this machine, and a pool
    ///   that there is not, too.
    static func read(_ document: INIDocument, in surroundings: inout Surroundings) throws(ConfigErrors) -> OutboundIPs {
        var table = OutboundIPs()
        var report = SectionReport(document, file: file, expecting: "[sender …]")
        // A pool may stand behind those that name it.
        let pools = Set(document.blocks.compactMap { poolName($0.name) })
        for section in document.blocks where report.hasRoom {
            if let name = poolName(section.name) {
                guard report.isFirst("pool \(name)", section.line) else { continue }
                if let pool = pool(name, section, &report, &surroundings) { table.add(pool) }
                continue
            }
            guard let subject = Subject(section.name) else {
                report.fail(section.line, unknown(section.name))
                continue
            }
            guard report.isFirst(subject.description, section.line) else { continue }
            if let source = source(subject, section, pools, &report, &surroundings) {
                table.add(Binding(match: subject.description, source: source), for: subject)
            }
        }
        try report.finish()
        return table
    }

    /// Reads a section that binds; says what is wrong with it.
    private static func source(
        _ subject: Subject,
        _ section: INIDocument.Block,
        _ pools: Set<String>,
        _ report: inout SectionReport,
        _ surroundings: inout Surroundings
    ) -> Source? {
        let errors = report.count
        var addresses: [IPAddress] = []
        var (helo, pool): (Domain?, String?)
        for entry in section.entries {
            do throws(ValueError) {
                switch entry.key {
                case "ip":
                    for piece in ValueParsing.list(entry.value) { addresses.append(try surroundings.ownAddress(piece)) }
                case "pool":
                    guard pools.contains(entry.value) else {
                        let hint = NearestName.hint(for: entry.value, among: pools.sorted())
                        throw ValueError("there is no [pool \(ValueParsing.shown(entry.value))]\(hint)")
                    }
                    pool = entry.value
                case "helo": helo = try RouteProperties.host(entry.value, "helo")
                default:
                    let hint = NearestName.hint(for: entry.key, among: names)
                    throw ValueError("unknown key \(ValueParsing.shown(entry.key))\(hint)")
                }
            } catch {
                report.fail(entry.line, error.reason)
            }
        }
        if report.count > errors { return nil }
        if let pool {
            guard addresses.isEmpty else {
                report.fail(section.line, "[\(subject.description)] has both ip and pool")
                return nil
            }
            return Source(anyOf: pool, helo: helo)
        }
        guard !addresses.isEmpty else {
            report.fail(section.line, "[\(subject.description)] has no ip")
            return nil
        }
        guard let source = Source(addresses, helo: helo) else {
            report.fail(section.line, "[\(subject.description)] has more than one address of a family")
            return nil
        }
        return source
    }

    static func unknown(_ name: String) -> String {
        "[\(ValueParsing.shown(name))] is not sender, user, client, recipient, route or pool with what it should be, nor *; for example "
            + "[sender example.org], [user app], [client 10.0.0.0/8], [recipient example.com], [pool news]"
    }

    // MARK: pools

    /// The name of a section that is a pool.
    static func poolName(_ section: String) -> String? {
        guard let rest = section.rest(behind: "pool ") else { return nil }
        let name = String(rest.trimmed)
        return SourcePool.isName(name) ? name : nil
    }

    /// Reads a pool; says what is wrong with it.
    private static func pool(
        _ name: String,
        _ section: INIDocument.Block,
        _ report: inout SectionReport,
        _ surroundings: inout Surroundings
    ) -> SourcePool? {
        let errors = report.count
        var members: [SourcePool.Member] = []
        var seen: Set<IPAddress> = []
        for entry in section.entries {
            do throws(ValueError) {
                guard entry.key.isSame(octets: "address") else {
                    let hint = NearestName.hint(for: entry.key, among: ["address"])
                    throw ValueError("unknown key \(ValueParsing.shown(entry.key))\(hint)")
                }
                let member = try member(entry.value, of: name, &surroundings)
                for address in member.source.addresses where !seen.insert(address).inserted {
                    throw ValueError("\(address) is in the pool twice; say weight to give it a larger part")
                }
                members.append(member)
            } catch {
                report.fail(entry.line, error.reason)
            }
        }
        if report.count > errors { return nil }
        guard !members.isEmpty, members.count <= SourcePool.mostMembers else {
            report.fail(
                section.line,
                members.isEmpty
                    ? "[pool \(name)] has no address"
                    : "[pool \(name)] has more than \(SourcePool.mostMembers) addresses"
            )
            return nil
        }
        return SourcePool(name, members, origin: "\(file):\(section.line)")
    }

    /// Reads `192.0.2.10, 2001:db8::10 weight 3 helo out1.example.org`.
    private static func member(
        _ text: String,
        of pool: String,
        _ surroundings: inout Surroundings
    ) throws(ValueError) -> SourcePool.Member {
        var addresses: [IPAddress] = []
        var (weight, helo): (Int, Domain?) = (1, nil)
        var words = ValueParsing.list(text).map { String($0) }[...]
        while let word = words.popFirst() {
            switch word {
            case "weight", "helo":
                guard let value = words.popFirst() else { throw ValueError("\(word) stands without a value") }
                if word.isSame(octets: "helo") {
                    helo = try RouteProperties.host(value, "helo")
                } else {
                    weight = try ValueParsing.count(value, 1...SourcePool.mostWeight)
                }
            default: addresses.append(try surroundings.ownAddress(word))
            }
        }
        guard !addresses.isEmpty else { throw ValueError("address names no address") }
        guard let source = Source(addresses, helo: helo, pool: pool) else {
            throw ValueError("more than one address of a family: each member of a pool stands on a line of its own")
        }
        return SourcePool.Member(source, weight: weight)
    }
}

extension SourcePool.Member {
    /// As the file has it.
    package var text: String {
        let addresses = source.addresses.map(\.description).joined(separator: ", ")
        return addresses + (weight == 1 ? "" : " weight \(weight)") + (source.helo.map { " helo \($0.name)" } ?? "")
    }
}
