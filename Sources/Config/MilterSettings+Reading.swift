// MilterSettings+Reading.swift — `milters.ini` into its settings.
//
// As strict as `hooks.ini`: a filter that is half configured would let mail pass that its writer wanted to stop.

import Mail

extension MilterSettings {
    /// The file's name in the configuration directory.
    package static let file = "milters.ini"

    private static let keys = [
        "socket", "default", "ways", "clients", "except", "senders", "recipients", "connect_timeout", "command_timeout",
        "content_timeout", "deadline", "idle_sessions", "breaker_failures", "breaker_pause",
    ]

    /// Reads the whole file.
    ///
    /// - Throws: all errors of the file (at most 50), each with its line.
    package static func read(_ document: INIDocument) throws(ConfigErrors) -> [MilterSettings] {
        var milters: [MilterSettings] = []
        var report = SectionReport(document, file: file, expecting: "[name of a milter]")
        for section in document.blocks where report.hasRoom {
            guard report.isFirst(section.name, section.line) else { continue }
            var milter = MilterSettings(name: section.name)
            var seen: Set<String> = []
            if !isName(section.name) {
                let shown = ValueParsing.shown(section.name)
                report.fail(section.line, "[\(shown)] is no name: letters, digits, - and _, at most 64")
            }
            for entry in section.entries {
                do throws(ValueError) {
                    guard seen.insert(entry.key).inserted else { throw ValueError("stands twice in its section") }
                    try milter.take(entry.key, entry.value)
                } catch {
                    report.fail(entry.line, "\(ValueParsing.shown(entry.key)): \(error.reason)")
                }
            }
            if milter.place == .unix(""), !entriesName(section.entries, "socket") {
                report.fail(section.line, "[\(ValueParsing.shown(section.name))] has no socket")
            }
            milters.append(milter)
        }
        try report.finish()
        return milters
    }

    private static func entriesName(_ entries: ArraySlice<INIDocument.Entry>, _ key: String) -> Bool {
        entries.contains { $0.key.isSame(octets: key) }
    }

    /// It is a label of metrics and stands in logs.
    private static func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) || $0 == 0x2D || $0 == 0x5F
            }
    }

    private mutating func take(_ key: String, _ value: String) throws(ValueError) {
        switch key {
        case "socket": place = try Place(value)
        case "default":
            guard let word = Absence(rawValue: value) else {
                throw ValueError("\"\(ValueParsing.shown(value))\" is none of accept, tempfail, reject, quarantine")
            }
            absence = word
        case "ways":
            var found: Set<Way> = []
            for word in ValueParsing.list(value) {
                guard let way = Way(rawValue: String(word)) else {
                    throw ValueError("\"\(ValueParsing.shown(word))\" is none of smtp, smtps, api")
                }
                found.insert(way)
            }
            guard !found.isEmpty else { throw ValueError("names no way in: smtp, smtps, api") }
            ways = found
        case "clients": clients = value.isEmpty ? nil : try ClientChoice.read(value)
        case "except": except = try ClientChoice.read(value)
        case "senders": senders = try Self.patterns(value)
        case "recipients": recipients = try Self.patterns(value)
        default: try takeNumber(key, value)
        }
    }

    private mutating func takeNumber(_ key: String, _ value: String) throws(ValueError) {
        switch key {
        case "connect_timeout": connectTimeout = try ValueParsing.duration(value, 1...3600)
        case "command_timeout": commandTimeout = try ValueParsing.duration(value, 1...3600)
        case "content_timeout": contentTimeout = try ValueParsing.duration(value, 1...3600)
        case "deadline": deadline = try ValueParsing.duration(value, 1...86_400)
        case "idle_sessions": idleSessions = try ValueParsing.count(value, 0...1000)
        case "breaker_failures": breakerFailures = try ValueParsing.count(value, 0...1_000_000)
        case "breaker_pause": breakerPause = try ValueParsing.duration(value, 1...86_400)
        default: throw ValueError("unknown key\(NearestName.hint(for: key, among: Self.keys))")
        }
    }

    private static func patterns(_ value: String) throws(ValueError) -> PatternTable<Bool>? {
        var table = PatternTable<Bool>()
        for piece in ValueParsing.list(value) {
            guard let pattern = AddressPattern(piece) else {
                throw ValueError(
                    "\"\(ValueParsing.shown(piece))\" is no address, domain, *.domain, <> or *"
                )
            }
            table[pattern] = true
        }
        return table.isEmpty ? nil : table
    }
}

extension MilterSettings.Place {
    /// Reads `inet:host:port` and `unix:/path` as Postfix writes them, `inet:port@host` and `local:/path` as Sendmail does.
    init(_ text: String) throws(ValueError) {
        let complaint = ValueError(
            "\"\(ValueParsing.shown(text))\" is not a socket such as inet:127.0.0.1:8891, inet:[::1]:8891 or unix:/run/filter.sock"
        )
        if let path = text.rest(behind: "unix:") ?? text.rest(behind: "local:") {
            guard path.starts(withOctets: "/") else {
                throw ValueError("the path of a Unix socket is absolute: unix:/run/filter.sock")
            }
            guard path.utf8.count <= 107 else { throw ValueError("the path of a Unix socket has at most 107 bytes") }
            self = .unix(String(path))
            return
        }
        let rest = text.rest(behind: "inet6:") ?? text.rest(behind: "inet:")
        guard let rest else { throw complaint }
        let (host, port): (Substring, Substring)
        if let at = rest.firstIndex(ofOctet: "@") {
            (port, host) = (rest[..<at], rest[rest.utf8.index(after: at)...])
        } else if let colon = rest.lastIndex(ofOctet: ":") {
            (host, port) = (rest[..<colon], rest[rest.utf8.index(after: colon)...])
        } else {
            throw complaint
        }
        guard let number = ValueParsing.digits(port).flatMap({ UInt16(exactly: $0) }), number > 0 else {
            throw complaint
        }
        if let ip = IPAddress(host) ?? IPAddress(literal: host) {
            self = .inet("\(ip)", number)
        } else if let name = Domain(host), name.literal == nil {
            self = .inet(name.name, number)
        } else {
            throw complaint
        }
    }
}
