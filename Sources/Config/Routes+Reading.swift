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
                        + "behind sender, nor sender X to Y"
                )
                continue
            }
            guard report.isFirst(match, section.line) else { continue }
            let errors = report.count
            var route = RouteReading()
            for entry in section.entries {
                do throws(ValueError) {
                    try route.take(try RouteLine(entry), &surroundings)
                } catch {
                    report.fail(entry.line, error.reason)
                }
            }
            if report.count > errors { continue }
            do throws(ValueError) {
                table.add(Entry(match: match, way: try route.way()))
            } catch {
                report.fail(section.line, "[\(match)] \(error.reason)")
            }
        }
        try report.finish()
        table.settle()
        return table
    }
}

/// What one section of `routes.ini` means, until all its lines are known.
private struct RouteReading {
    private var written: [(host: RouteSection.Host, properties: RouteProperties)] = []
    private var shared = RouteProperties()
    private var isDirect = false
    private var ending: RouteEnding?

    mutating func take(_ line: RouteLine, _ surroundings: inout Surroundings) throws(ValueError) {
        switch line {
        case .hosts(let hosts):
            for host in hosts {
                if host.hasLogin { surroundings.sawSecret() }
                written.append((host, try RouteProperties(host.words, in: &surroundings)))
            }
        case .property(let property, let value): try shared.set(property, to: value, in: &surroundings)
        case .direct(let value): isDirect = value
        case .ending(let value):
            guard let value else { return }
            guard ending == nil || ending?.name == value.name else { throw ValueError("says reject and discard") }
            ending = value
        }
    }

    /// Hosts in the order to try them, or what else becomes of the mail.
    func way() throws(ValueError) -> Routes.Way {
        if let ending {
            guard !isDirect else { throw ValueError("says direct and \(ending.name)") }
            guard written.isEmpty else { throw ValueError("has mx and says \(ending.name)") }
            return try ending.way
        }
        if isDirect {
            guard written.isEmpty else { throw ValueError("has mx and says direct") }
            return .direct
        }
        guard !written.isEmpty else { throw ValueError("has no mx") }
        return .hosts(try RouteSection.inOrder(written, shared: shared))
    }
}
