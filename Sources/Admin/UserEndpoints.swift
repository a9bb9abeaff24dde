// UserEndpoints.swift — who may log in to relay: lines of `[users]` in `auth_flat_file.ini` as JSON.
//
// Guarantees: a password goes in and never comes out, nor does its hash; it is kept as a hash whatever the client is.

import Config
import JSON
import Mail
import Passwords

/// Operations on users.
enum UserEndpoints {
    private static let file = ConfigFile.passwords
    private static let section = "users"

    /// `GET /v1/users`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (_, headers) = try FileEdits.shown(file, services)
        let users = services.settings.current.auth.users.sorted { $0.key < $1.key }
        return .json(
            [
                "items": .array(users.map { view($0.key, $0.value) }), "next": nil, "total": .count(users.count),
                "total_exact": true,
            ],
            headers: headers
        )
    }

    /// `GET /v1/users/{name}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (_, headers) = try FileEdits.shown(file, services)
        let name = request.parameter("name")
        guard let password = services.settings.current.auth.users[name] else { throw missing }
        return .json(view(name, password), headers: headers)
    }

    /// `PUT /v1/users/{name}`.
    static func put(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, "putUser", isPatch: false)
    }

    /// `PATCH /v1/users/{name}`: without a password nothing changes.
    static func patch(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, "editUser", isPatch: true)
    }

    /// `DELETE /v1/users/{name}`.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let name = request.parameter("name")
        let edit = try FileEdits.edit(file, request, services, operation: "remove user", key: name) {
            (document) throws(Problem) in
            guard document.value(name, in: section) != nil else { throw missing }
            document.remove(name, in: section)
        }
        if let rehearsal = FileEdits.rehearsal(edit) { return rehearsal }
        services.audit(request, Change(operation: "removeUser", subject: name))
        return AdminResponse(204, headers: [FileEdits.tag(edit.revision)])
    }

    // MARK: - Parts

    private static func change(
        _ request: AdminRequest,
        _ services: AdminServices,
        _ operation: String,
        isPatch: Bool
    ) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let name = request.parameter("name")
        let stored = try password(request, name)
        var isNew = false
        let edit = try FileEdits.edit(file, request, services, operation: "set password", key: name) {
            (document) throws(Problem) in
            isNew = document.value(name, in: section) == nil
            guard !isNew || !isPatch else { throw missing }
            guard isNew || request.header("if-none-match") != "*" else {
                throw Problem(.stale, "there is a user of that name already")
            }
            guard let stored else {
                guard !isNew else { throw Problem.invalid("/password", "required", "is missing, or password_hash") }
                return
            }
            try FileEdits.say("/name") { () throws(ConfigError) in try document.set(name, to: stored, in: section) }
        }
        if let rehearsal = FileEdits.rehearsal(edit) { return rehearsal }
        guard let kept = edit.after.auth.users[name] else { throw missing }
        if edit.isChanged { services.audit(request, Change(operation: operation, subject: name, after: kept.kind)) }
        return .json(view(name, kept), status: isNew ? 201 : 200, headers: [FileEdits.tag(edit.revision)])
    }

    /// What is to stand in the file; nil: what stands there.
    private static func password(_ request: AdminRequest, _ name: String) throws(Problem) -> String? {
        var body = try JSONObject(request.json(), at: "")
        try body.refuseNull("name")
        if let given = try body.string("name"), !given.isSame(octets: name) {
            throw Problem.invalid("/name", "exclusive", "is another name than the path's")
        }
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

    private static func view(_ name: String, _ password: StoredPassword) -> JSON {
        ["name": .string(name), "password_set": true, "password_kind": .string(password.kind)]
    }

    private static let missing = Problem(.notFound, "there is no such user")
}
