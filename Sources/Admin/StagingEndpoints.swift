// StagingEndpoints.swift — mail that goes nowhere real: sections `[staging]` of `rewrite.ini` as JSON.
//
// A section says `redirect` or `sink`, and never neither: half understood it would write to real people. What the words mean is
// judged where the file is read.

import Config
import JSON
import Mail

/// Operations on `[staging]`: `/v1/staging`.
enum StagingEndpoints: ConfigTable {
    static let file = ConfigFile.rewriting
    static let words = TableWords(
        noun: "staging",
        missing: .missing("section", in: "/v1/staging"),
        taken: "there is a section for that mail already"
    )

    static func rows(_ document: INIDocument?, _ settings: Settings, _ services: AdminServices) -> [RawSection] {
        document.map { RawSection.all(in: $0, keys: Staging.keys, named: Staging.section) } ?? []
    }

    static func isNamed(_ row: RawSection, _ key: String) -> Bool { row.name.isSame(octets: key) }

    /// `all`, or whose mail it is.
    static func key(_ request: AdminRequest) throws(Problem) -> String {
        let text = request.parameter("whose")
        guard let whose = text.isSame(octets: all) ? Whose.all : Whose(text), !text.words.isEmpty else {
            throw .badName("whose", "whose mail: all, listener NAME, client NETWORK or login NAME")
        }
        return Staging.section(of: whose)
    }

    /// A text for each key that is said, nil for one that goes.
    static func draft(
        _ request: AdminRequest,
        _ name: String,
        isPatch: Bool,
        _ services: AdminServices
    ) throws(Problem) -> [String: String?] {
        var body = try JSONObject(request.json(), at: "")
        try body.passOverName("whose") { $0.isSame(octets: shown(name)) }
        try body.passOver("origin", "a string") { $0.string != nil }
        var draft: [String: String?] = [:]
        let isNull = body.isNull("redirect")
        if let address = try body.string("redirect", atMost: 320) {
            draft["redirect"] = address
        } else if isNull {
            draft["redirect"] = .some(nil)
        }
        try body.refuseNull("sink")
        if let sinks = try body.bool("sink") { draft["sink"] = sinks ? "true" : .some(nil) }
        if body.isNull("senders") { draft["senders"] = .some(nil) }
        if let senders = try body.strings("senders", atMost: 1000) {
            for (index, sender) in senders.enumerated() where sender.isEmpty || sender.contains(octet: ",") {
                throw Problem.invalid("/senders/\(index)", "format", "is empty, or holds a comma")
            }
            draft["senders"] = .some(senders.isEmpty ? nil : senders.joined(separator: ", "))
        }
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
        for name in Staging.keys {
            let said: String?
            if let given = draft[name] { said = given } else if isPatch { continue } else { said = nil }
            // What comes out goes in: neither another spelling nor a default is written.
            if member(name, values[name]) != member(name, said) { values[name] = said }
        }
        let section = RawSection(name: key, values: values)
        try FileEdits.say("") { () throws(ConfigError) in
            try section.write(to: &document, keys: Staging.keys, named: Staging.section)
        }
    }

    static func erase(_ key: String, from document: inout INIDocument, _ services: AdminServices) -> Bool {
        RawSection.remove(key, from: &document, named: Staging.section)
    }

    static func logged(_ row: RawSection) -> String {
        Staging.keys.compactMap { key in row.values[key].map { "\(key)=\($0)" } }.joined(separator: " ")
    }

    static func view(_ row: RawSection, _ services: AdminServices) -> JSON {
        let name = JSON.Member("whose", .string(shown(row.name)))
        let origin = JSON.Member("origin", .string("\(Rewriting.file):\(row.line)"))
        return .object([name, origin] + Staging.keys.map { JSON.Member($0, member($0, row.values[$0])) })
    }

    private static let all = "all"

    /// A section's name as the API has it: whose mail, without the word in front.
    private static func shown(_ section: String) -> String {
        let whose = section.words.dropFirst().joined(separator: " ")
        return whose.isEmpty ? all : whose
    }

    /// What a key says, with its default.
    private static func member(_ key: String, _ text: String?) -> JSON {
        switch key {
        case "redirect": .optional(text.flatMap { $0.isEmpty ? nil : $0 })
        case "sink": .bool(["true", "yes", "on", "1"].contains { text?.lowercasedASCII.isSame(octets: $0) ?? false })
        default: .strings((text ?? "").split(octet: ",").map { String($0.trimmed) }.filter { !$0.isEmpty })
        }
    }
}
