// UserEndpoints.swift — who may log in to relay: lines of `[users]` in `auth_flat_file.ini` as JSON.
//
// Guarantees: a password goes in and never comes out, nor does its hash; it is kept as a hash whatever the client is.

import Config
import JSON
import Mail
import Passwords

/// Operations on users: `/v1/users`.
enum UserEndpoints: ConfigTable {
    static let file = ConfigFile.passwords
    static let words = TableWords(
        noun: "user",
        missing: .missing("user", in: "/v1/users"),
        taken: "there is a user of that name already"
    )
    private static let section = "users"

    /// A line: who, and what is kept of the password.
    struct Row {
        let name: String
        let password: StoredPassword
    }

    static func rows(_ document: INIDocument?, _ settings: Settings, _ services: AdminServices) -> [Row] {
        settings.auth.users.sorted { $0.key < $1.key }.map { Row(name: $0.key, password: $0.value) }
    }

    static func row(_ key: String, _ document: INIDocument?, _ settings: Settings, _ services: AdminServices) -> Row? {
        settings.auth.users[key].map { Row(name: key, password: $0) }
    }

    static func isNamed(_ row: Row, _ key: String) -> Bool { row.name.isSame(octets: key) }

    static func has(_ key: String, _ document: INIDocument, _ services: AdminServices) -> Bool {
        document.value(key, in: section) != nil
    }

    static func key(_ request: AdminRequest) -> String { request.parameter("name") }

    static func write(
        _ draft: inout String?,
        _ key: String,
        over old: Row?,
        isPatch: Bool,
        to document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem) {
        guard let stored = draft else {
            guard has(key, document, services) else {
                throw Problem.invalid("/password", "required", "is missing, or password_hash")
            }
            return
        }
        try FileEdits.say("/name") { () throws(ConfigError) in try document.set(key, to: stored, in: section) }
    }

    static func erase(_ key: String, from document: inout INIDocument, _ services: AdminServices) -> Bool {
        guard document.value(key, in: section) != nil else { return false }
        document.remove(key, in: section)
        return true
    }

    static func logged(_ row: Row) -> String { row.password.kind }

    /// What is to stand in the file; nil: what stands there.
    static func draft(
        _ request: AdminRequest,
        _ name: String,
        isPatch: Bool,
        _ services: AdminServices
    ) throws(Problem) -> String? {
        var body = try JSONObject(request.json(), at: "")
        try body.passOverName("name") { $0.isSame(octets: name) }
        // What was shown may be repeated.
        try body.passOver("password_kind", "a word") { $0.string != nil }
        try body.passOver("password_set", "true") { $0.bool == true }
        for secret in ["password", "password_hash", "method"] { try body.refuseNull(secret) }
        let hash = try body.string("password_hash", atMost: 511)
        let word = try body.string("method")
        let plain = try body.string("password", atMost: PasswordHash.longestPassword)
        try body.finish()
        let method = word.map { StoredPassword.Method(rawValue: $0) } ?? .yescrypt
        guard let method else {
            let known = StoredPassword.Method.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem.invalid("/method", "enum", "is none of \(known)")
        }
        guard plain == nil || hash == nil else {
            throw Problem.invalid("/password_hash", "exclusive", "a user has a password or a hash of one")
        }
        if let hash {
            guard let kept = StoredPassword(hash), !kept.kind.isSame(octets: "plain") else {
                throw Problem.invalid(
                    "/password_hash",
                    "format",
                    "is no hash: $y$, $6$, $2b$ and SCRAM-SHA-256$ are known"
                )
            }
            return hash
        }
        guard let plain else { return nil }
        guard !plain.isEmpty else { throw Problem.invalid("/password", "length", "is empty") }
        guard let text = StoredPassword.text(of: Array(plain.utf8), by: method) else {
            throw Problem.invalid("/method", "impossible", "the password cannot be hashed so on this machine")
        }
        return text
    }

    static func view(_ row: Row, _ services: AdminServices) -> JSON {
        ["name": .string(row.name), "password_set": true, "password_kind": .string(row.password.kind)]
    }
}
