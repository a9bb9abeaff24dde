// RawSectionTable.swift — tables whose rows are sections as they stand in their file: what a value means is judged where the file is
// read, so that the API takes what the file takes.

import Config
import JSON
import Mail

/// What is one such table's own.
protocol RawSectionTable: ConfigTable
where Key == String, Row == RawSection, Draft == [String: String?] {
    /// Keys of a section, in the order of the answer.
    static var keys: [String] { get }

    /// The normal form of a section's name; nil for one that is no row.
    static func naming(_ section: String) -> String?

    /// The member that has the name of a row.
    static var nameMember: String { get }

    /// A section's name as the API has it.
    static func shown(_ section: String) -> String

    /// What a key says, with its default.
    static func member(_ key: String, _ text: String?) -> JSON
}

extension RawSectionTable {
    static func shown(_ section: String) -> String { section }

    /// In the order of the file; none of one that is broken.
    static func rows(_ document: INIDocument?, _ settings: Settings, _ services: AdminServices) -> [RawSection] {
        document.map { RawSection.all(in: $0, keys: keys, named: naming) } ?? []
    }

    static func isNamed(_ row: RawSection, _ key: String) -> Bool { row.name.isSame(octets: key) }

    static func write(
        _ draft: inout [String: String?],
        _ key: String,
        over old: RawSection?,
        isPatch: Bool,
        to document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem) {
        var values = old?.values ?? [:]
        for name in keys {
            let said: String?
            if let given = draft[name] { said = given } else if isPatch { continue } else { said = nil }
            // What comes out goes in: neither another spelling nor a default is written.
            if member(name, values[name]) != member(name, said) { values[name] = said }
        }
        let section = RawSection(name: key, values: values)
        try FileEdits.say("") { () throws(ConfigError) in
            try section.write(to: &document, keys: keys, named: naming)
        }
    }

    static func erase(_ key: String, from document: inout INIDocument, _ services: AdminServices) -> Bool {
        RawSection.remove(key, from: &document, named: naming)
    }

    static func logged(_ row: RawSection) -> String {
        keys.compactMap { key in row.values[key].map { "\(key)=\($0)" } }.joined(separator: " ")
    }

    static func view(_ row: RawSection, _ services: AdminServices) -> JSON {
        let name = JSON.Member(nameMember, .string(shown(row.name)))
        let origin = JSON.Member("origin", .string("\(file.rawValue):\(row.line)"))
        return .object([name, origin] + keys.map { JSON.Member($0, member($0, row.values[$0])) })
    }

    /// A value that says yes or no.
    static func yes(_ text: String?) -> JSON {
        .bool(["true", "yes", "on", "1"].contains { text?.lowercasedASCII.isSame(octets: $0) ?? false })
    }

    /// A value with commas.
    static func list(_ text: String?) -> JSON {
        .strings((text ?? "").split(octet: ",").map { String($0.trimmed) }.filter { !$0.isEmpty })
    }

    /// A list that a body holds, as a value with commas; nil for an empty one.
    static func joined(_ values: [String], _ member: String) throws(Problem) -> String? {
        for (index, value) in values.enumerated() where value.isEmpty || value.contains(octet: ",") {
            throw Problem.invalid("/\(member)/\(index)", "format", "is empty, or holds a comma")
        }
        return values.isEmpty ? nil : values.joined(separator: ", ")
    }
}
