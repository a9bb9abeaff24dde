// ArchiveEndpoints.swift — whose mail is copied to an archive: sections of `archive.ini` as JSON.
//
// What the words mean is judged where the file is read, so that the API takes what the file takes.

import Config
import JSON
import Mail

/// Operations on `archive.ini`: `/v1/archive`.
enum ArchiveEndpoints: RawSectionTable {
    static let file = ConfigFile.archive
    static let words = TableWords(
        noun: "archive",
        missing: .missing("archive", in: "/v1/archive"),
        taken: "there is a section of that name already"
    )
    static let keys = ArchiveSettings.keys
    static let nameMember = "name"
    private static let lists = ["to", "for", "senders", "recipients"]

    static func naming(_ section: String) -> String? { section }

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
            draft[key] = .some(try joined(said ?? [], key))
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

    /// What a key says, with its default.
    static func member(_ key: String, _ text: String?) -> JSON {
        switch key {
        case "form": .string(text ?? ArchiveSettings.Form.journal.rawValue)
        case "from": .string(text.flatMap { $0.isEmpty ? nil : $0 } ?? "<>")
        case "required": yes(text)
        default: list(text)
        }
    }
}
