// Routes+Reading.swift — `routes.ini` into the route table.
//
// Stricter than the other files: a word that is not understood is an error, because a route that is half understood
// would send mail somewhere, or in a way, that its writer did not ask for.

import Mail

extension Routes {
    /// The file's name in the configuration directory.
    package static let file = "routes.ini"

    /// Reads the whole table, without secrets that are kept in other files.
    ///
    /// - Throws: all errors of the file (at most 50), each with its line.
    package static func read(_ document: INIDocument) throws(ConfigErrors) -> Routes {
        var surroundings = Surroundings()
        return try read(document, in: &surroundings)
    }

    /// Reads the whole table.
    ///
    /// - Throws: all errors of the file (at most 50), each with its line.
    static func read(_ document: INIDocument, in surroundings: inout Surroundings) throws(ConfigErrors) -> Routes {
        var table = Routes()
        var report = SectionReport(document, file: file, expecting: "[domain]")
        for section in document.blocks where report.hasRoom {
            guard let match = normalized(section.name) else {
                report.fail(
                    section.line,
                    "[\(ValueParsing.shown(section.name))] is not an address, a domain, *.suffix or *, nor one of them "
                        + "behind sender"
                )
                continue
            }
            guard report.isFirst(match, section.line) else { continue }
            let errors = report.count
            var route = RouteSection()
            for entry in section.entries {
                do throws(ValueError) {
                    try route.take(entry.key, entry.value, &surroundings)
                } catch {
                    report.fail(entry.line, error.reason)
                }
            }
            if report.count > errors { continue }
            do throws(ValueError) {
                table.add(Route(match: match, hosts: try route.hosts()))
            } catch {
                report.fail(section.line, "[\(match)] \(error.reason)")
            }
        }
        try report.finish()
        return table
    }
}

/// What one section of `routes.ini` says, until all its lines are known.
private struct RouteSection {
    private static let names = ["mx", "direct"] + RouteProperty.allCases.map(\.rawValue)

    private var written: [RouteHost] = []
    private var shared = RouteProperties()
    private var isDirect = false

    mutating func take(_ key: String, _ value: String, _ surroundings: inout Surroundings) throws(ValueError) {
        if key == "mx" {
            let hosts = try RouteHost.parse(value)
            for var host in hosts {
                for (name, text) in host.words { try Self.set(name, text, in: &host.properties, &surroundings) }
                written.append(host)
            }
        } else if key == "direct" {
            isDirect = try ValueParsing.boolean(value)
        } else {
            try Self.set(key, value, in: &shared, &surroundings)
        }
    }

    /// The hosts in the order to try them.
    ///
    /// One without a priority comes after the one written before it.
    func hosts() throws(ValueError) -> [MX] {
        if isDirect {
            guard written.isEmpty else { throw ValueError("has mx and says direct") }
            return []
        }
        guard !written.isEmpty else { throw ValueError("has no mx") }
        var next: UInt16 = 0
        var found: [MX] = []
        found.reserveCapacity(written.count)
        for host in written {
            let all = host.properties.filled(from: shared)
            var mx = try all.apply(to: host.mx, hasPort: host.hasPort)
            mx.priority = all.priority ?? next
            next = mx.priority == .max ? .max : mx.priority + 1
            found.append(mx)
        }
        // Swift's sort is stable, so the written order holds among equals.
        return found.sorted { $0.priority < $1.priority }
    }

    private static func set(
        _ name: some StringProtocol,
        _ value: String,
        in properties: inout RouteProperties,
        _ surroundings: inout Surroundings
    ) throws(ValueError) {
        guard let property = RouteProperty(rawValue: String(name)) else {
            let hint = NearestName.hint(for: String(name), among: names)
            throw ValueError("unknown key \(ValueParsing.shown(name))\(hint)")
        }
        try properties.set(property, to: value, in: &surroundings)
    }
}
