// LimitEndpoints.swift — limits: sections of `limits.ini` as JSON.

import Config
import JSON
import Mail

/// Operations on `limits.ini`: `/v1/limits`.
enum LimitEndpoints: ConfigTable {
    static let file = ConfigFile.limits
    static let words = TableWords(
        noun: "limit",
        missing: Problem(.notFound, "limits.ini has no such section"),
        taken: "there is a section of that name already"
    )

    static func rows(_ document: INIDocument?, _ settings: Settings, _ services: AdminServices) -> [LimitEntry] {
        document.map { LimitSettings.entries(in: $0) } ?? LimitSettings.entries(of: settings.limits)
    }

    static func isNamed(_ row: LimitEntry, _ key: LimitScope) -> Bool { row.scope == key }

    static func write(
        _ draft: inout Draft,
        _ key: LimitScope,
        over old: LimitEntry?,
        isPatch: Bool,
        to document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem) {
        let base = isPatch ? old : nil
        var values = base?.values ?? [:]
        for (term, value) in draft.values { values[term] = value }
        let entry = LimitEntry(scope: key, hosts: draft.hosts ?? base?.hosts ?? [], values: values)
        try FileEdits.say("") { () throws(ConfigError) in try LimitSettings.put(entry, in: &document) }
    }

    static func erase(_ key: LimitScope, from document: inout INIDocument, _ services: AdminServices) -> Bool {
        LimitSettings.remove(key, in: &document)
    }

    static func logged(_ entry: LimitEntry) -> String {
        let values = LimitTerms.Key.allCases.compactMap { key in entry.values[key].map { "\(key.rawValue)=\($0)" } }
        let hosts = entry.hosts.isEmpty ? [] : ["mx=\(entry.hosts.joined(separator: ","))"]
        return (hosts + values).joined(separator: " ")
    }

    static func view(_ entry: LimitEntry, _ services: AdminServices) -> JSON {
        var members = [
            JSON.Member("scope", .string("\(entry.scope)")),
            JSON.Member("origin", .string(entry.line > 0 ? "\(LimitSettings.file):\(entry.line)" : LimitSettings.file)),
            JSON.Member("mx", .strings(entry.hosts)),
        ]
        for key in LimitTerms.Key.allCases { members.append(JSON.Member(key.rawValue, .optional(entry.values[key]))) }
        return .object(members)
    }

    static func key(_ request: AdminRequest) throws(Problem) -> LimitScope {
        guard let scope = LimitSettings.scope(request.parameter("scope")) else {
            throw Problem(
                .invalid,
                "a limit is about \"provider X\", \"lane X\", \"route X\", \"source X\", \"domain X\", \"sender X\" or \"user X\"",
                issues: [Problem.Issue("/scope", "format", "is no such name")]
            )
        }
        return scope
    }

    /// What a body says; null takes a key away.
    struct Draft {
        var hosts: [String]?
        var values: [LimitTerms.Key: String?] = [:]
    }

    static func draft(
        _ request: AdminRequest,
        _ scope: LimitScope,
        isPatch: Bool,
        _ services: AdminServices
    ) throws(Problem) -> Draft {
        var body = try JSONObject(request.json(), at: "")
        var draft = Draft()
        // What comes out goes in.
        let given = (try body.string("scope"), try body.string("origin")).0
        if let given, LimitSettings.scope(given) != scope {
            throw Problem.invalid("/scope", "exclusive", "names another section than the path")
        }
        if let value = body.take("mx") {
            switch value {
            case .null: draft.hosts = []
            case .array(let items):
                draft.hosts = []
                for (index, item) in items.enumerated() {
                    guard case .string(let text) = item else {
                        throw Problem.invalid("/mx/\(index)", "type", "must be a string, not \(item.kind)")
                    }
                    try JSONObject.check(text, "/mx/\(index)", atMost: 255)
                    draft.hosts?.append(text)
                }
            default: throw Problem.invalid("/mx", "type", "must be a list of hosts, not \(value.kind)")
            }
        }
        for key in LimitTerms.Key.allCases {
            guard let value = body.take(key.rawValue) else { continue }
            switch value {
            case .null: draft.values[key] = .some(nil)
            case .integer(let number): draft.values[key] = "\(number)"
            case .string(let text):
                try JSONObject.check(text, "/\(key.rawValue)", atMost: 64)
                draft.values[key] = text
            default:
                throw Problem.invalid("/\(key.rawValue)", "type", "must be a string or a number, not \(value.kind)")
            }
        }
        try body.finish()
        return draft
    }
}
