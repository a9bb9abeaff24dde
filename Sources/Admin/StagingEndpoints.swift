// StagingEndpoints.swift — mail that goes nowhere real: sections `[staging]` of `rewrite.ini` as JSON.
//
// A section says `redirect` or `sink`, and never neither: half understood it would write to real people. What the words mean is
// judged where the file is read.

import Config
import JSON
import Mail

/// Operations on `[staging]`: `/v1/staging`.
enum StagingEndpoints: RawSectionTable {
    static let file = ConfigFile.rewriting
    static let words = TableWords(
        noun: "staging",
        missing: .missing("section", in: "/v1/staging"),
        taken: "there is a section for that mail already"
    )

    static let keys = Staging.keys
    static let nameMember = "whose"

    static func naming(_ section: String) -> String? { Staging.section(section) }

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
            draft["senders"] = .some(try joined(senders, "senders"))
        }
        try body.finish()
        return draft
    }

    private static let all = "all"

    /// A section's name as the API has it: whose mail, without the word in front.
    static func shown(_ section: String) -> String {
        let whose = section.words.dropFirst().joined(separator: " ")
        return whose.isEmpty ? all : whose
    }

    /// What a key says, with its default.
    static func member(_ key: String, _ text: String?) -> JSON {
        switch key {
        case "redirect": .optional(text.flatMap { $0.isEmpty ? nil : $0 })
        case "sink": yes(text)
        default: list(text)
        }
    }
}
