// ArchiveEndpoints.swift — whose mail is copied to an archive: sections of `archive.ini` as JSON.
//
// What the words mean is judged where the file is read, so that the API takes what the file takes.

import Config
import JSON
import Mail

/// Operations on `archive.ini`: `/v1/archive`.
enum ArchiveEndpoints: ConfigTable {
    static let file = ConfigFile.archive
    static let words = TableWords(
        noun: "archive",
        missing: .missing("archive", in: "/v1/archive"),
        taken: "there is a section of that name already"
    )
    private static let lists = ["to", "for", "senders", "recipients"]

    /// In the order of the file; none of one that is broken.
    static func rows(_ document: INIDocument?, _ settings: Settings, _ services: AdminServices) -> [RawSection] {
        document.map { RawSection.all(in: $0, keys: ArchiveSettings.keys) { $0 } } ?? []
    }

    static func isNamed(_ row: RawSection, _ key: String) -> Bool { row.name.isSame(octets: key) }

    static func key(_ request: AdminRequest) throws(Problem) -> String {
        let name = request.parameter("name")
        guard ArchiveSettings.isName(name) else {
            throw .badName("name", "the name of a section has 1 to 64 printable octets, no brackets among them")
        }
        return name
    }

    /// A text for each key that is said, nil for one that goes.
    static func draft(
        _ request: AdminRequest,
        _ name: String,
        isPatch: Bool,
        _ services: AdminServices
    ) throws(Problem) -> [String: String?] {
        var body = try JSONObject(request.json(), at: "")
        try body.passOverName("name") { $0.isSame(octets: name) }
        try body.passOver("origin", "a string") { $0.string != nil }
        var draft: [String: String?] = [:]
        for key in lists {
            let said = try body.said(key) { (body) throws(Problem) in try body.strings(key, atMost: 1000) }
            guard let said else { continue }
            for (index, value) in (said ?? []).enumerated() where value.isEmpty || value.contains(octet: ",") {
                throw Problem.invalid("/\(key)/\(index)", "format", "is empty, or holds a comma")
            }
            draft[key] = .some(said.flatMap { $0.isEmpty ? nil : $0.joined(separator: ", ") })
        }
        for key in ["form", "from"] {
            let said = try body.said(key) { (body) throws(Problem) in try body.string(key, atMost: 320) }
            if let said { draft[key] = .some(said) }
        }
        let isRequired = try body.said("required") { (body) throws(Problem) in try body.bool("required") }
        if let isRequired { draft["required"] = .some(isRequired.map { $0 ? "true" : "false" }) }
        try body.finish()
        return draft
    }

    static func write(
        _ draft: inout [String: String?],
        _ key: String,
        over old: RawSection?,
        isPatch: Bool,
        to document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem) {
        var values = old?.values ?? [:]
        for name in ArchiveSettings.keys {
            let said: String?
            if let given = draft[name] { said = given } else if isPatch { continue } else { said = nil }
            // What comes out goes in: neither another spelling nor a default is written.
            if member(name, values[name]) != member(name, said) { values[name] = said }
        }
        let section = RawSection(name: key, values: values)
        try FileEdits.say("") { () throws(ConfigError) in
            try section.write(to: &document, keys: ArchiveSettings.keys) { $0 }
        }
    }

    static func erase(_ key: String, from document: inout INIDocument, _ services: AdminServices) -> Bool {
        RawSection.remove(key, from: &document) { $0 }
    }

    static func logged(_ row: RawSection) -> String {
        ArchiveSettings.keys.compactMap { key in row.values[key].map { "\(key)=\($0)" } }.joined(separator: " ")
    }

    static func view(_ row: RawSection, _ services: AdminServices) -> JSON {
        let name = JSON.Member("name", .string(row.name))
        let origin = JSON.Member("origin", .string("\(ArchiveSettings.file):\(row.line)"))
        return .object(
            [name, origin] + ArchiveSettings.keys.map { JSON.Member($0, member($0, row.values[$0])) }
        )
    }

    /// What a key says, with its default.
    private static func member(_ key: String, _ text: String?) -> JSON {
        switch key {
        case "form": .string(text ?? ArchiveSettings.Form.journal.rawValue)
        case "from": .string(text.flatMap { $0.isEmpty ? nil : $0 } ?? "<>")
        case "required":
            .bool(["true", "yes", "on", "1"].contains { text?.lowercasedASCII.isSame(octets: $0) ?? false })
        default: .strings((text ?? "").split(octet: ",").map { String($0.trimmed) }.filter { !$0.isEmpty })
        }
    }
}
