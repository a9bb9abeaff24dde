// WebhookDraft.swift — what a client says of a receiver, as lines of `events.ini`. What the words mean is judged where the
// file is read, so that the API takes what the file takes.
//
// Guarantee: a secret goes in and never comes out, but for one that was made here, once.

import Config
import JSON
import Mail

/// Lines of a section: a text for each key that is said, nil for one that goes.
struct WebhookDraft {
    private(set) var words: [String: String?] = [:]

    /// Members whose values are whole numbers, truths and lists, by the key of the file.
    private static let numbers = [
        ("batch", "batch", 1...100), ("concurrency", "concurrency", 1...4), ("timeout_s", "timeout", 1...120),
        ("retry_first_s", "retry_first", 1...3600), ("retry_max_s", "retry_max", 1...86_400),
    ]
    private static let truths = [
        ("enabled", "enabled"), ("ordered", "ordered"), ("allow_private", "allow_private"),
    ]
    private static let lists = ["types", "routes", "tags", "sender_domains"]

    /// Reads a body.
    init(_ body: JSONObject, name: String) throws(Problem) {
        var body = body
        try body.passOverName("name") { $0.isSame(octets: name) }
        // As answers have them.
        try body.passOver("secret_previous_set", "true or false") { $0.bool != nil }
        try body.passOver("status", "an object or null") { if case .object = $0 { true } else { $0 == .null } }
        for (member, key, range) in Self.numbers {
            let said = try body.said(member) { (body) throws(Problem) in try body.integer(member, range) }
            if let said { words[key] = .some(said.map { "\($0)" }) }
        }
        for (member, key) in Self.truths {
            if let value = try body.bool(member) { words[key] = value ? "true" : "false" }
        }
        for key in Self.lists {
            let said = try body.said(key) { (body) throws(Problem) in try body.strings(key, atMost: 100) }
            if let said { words[key] = .some(try Self.line(said ?? [], at: body.pointer(key))) }
        }
        for key in ["url", "format"] {
            try body.refuseNull(key)
            if let value = try body.string(key, atMost: 2048) { words[key] = try Self.checked(value, "/\(key)") }
        }
        try takeSecrets(&body)
        try body.finish()
    }

    private mutating func takeSecrets(_ body: inout JSONObject) throws(Problem) {
        for key in WebhookSettings.secretKeys {
            guard let said = try body.said(key, { (body) throws(Problem) in try body.string(key) }) else { continue }
            guard let value = said else {
                words[key] = .some(nil)
                continue
            }
            do throws(ValueError) { try SecretReference(value).check(from: .client) } catch {
                throw Problem.invalid("/\(key)", "format", error.reason)
            }
            guard SecretReference(value).isElsewhere || WebhookSettings.Key(value) != nil else {
                throw Problem.invalid("/\(key)", "format", "is not whsec_ and base64 of 24 to 64 octets")
            }
            words[key] = try Self.checked(value, "/\(key)")
        }
    }

    /// A list as a line; an empty one takes the line away.
    private static func line(_ values: [String], at pointer: String) throws(Problem) -> String? {
        for (index, value) in values.enumerated() {
            let isWord = !value.isEmpty && !value.contains(octet: ",") && !value.contains(octet: " ")
            guard isWord, !value.starts(withOctets: ";") else {
                throw Problem.invalid("\(pointer)/\(index)", "format", "is empty, or holds a blank or a comma")
            }
        }
        return values.isEmpty ? nil : values.joined(separator: ", ")
    }

    private static func checked(_ value: String, _ pointer: String) throws(Problem) -> String {
        guard INIDocument.canHold(value) else {
            throw Problem.invalid(pointer, "impossible", "cannot stand in an INI file")
        }
        return value
    }

    /// Writes the section.
    ///
    /// - Parameters:
    ///   - isPatch: what is not said stays.
    ///   - made: a secret for a receiver that has none and is given none.
    func write(
        to document: inout INIDocument,
        section: String,
        isPatch: Bool,
        made: WebhookSettings.Key
    ) throws(Problem) -> Bool {
        var needsSecret = false
        for key in WebhookSettings.keys {
            let isSecret = WebhookSettings.secretKeys.contains { $0.isSame(octets: key) }
            switch words[key] {
            case .some(.some(let value)):
                // What comes out goes in: neither another spelling nor a default is written.
                let known = document.value(key, in: section)
                if WebhookSettings.isSame(key, known, value), known != nil || !isSecret { continue }
                try FileEdits.say("/\(key)") { () throws(ConfigError) in
                    try document.set(key, to: value, in: section)
                }
            case .some(.none): document.remove(key, in: section)
            // A secret that nobody speaks of stays.
            case .none:
                guard !isPatch, !isSecret else { continue }
                if !WebhookSettings.isSame(key, document.value(key, in: section), nil) {
                    document.remove(key, in: section)
                }
            }
        }
        if document.value("secret", in: section)?.isEmpty ?? true {
            needsSecret = true
            try FileEdits.say("/secret") { () throws(ConfigError) in
                try document.set("secret", to: made.text.revealed, in: section)
            }
        }
        return needsSecret
    }
}
