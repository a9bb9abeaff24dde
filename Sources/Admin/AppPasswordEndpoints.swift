// AppPasswordEndpoints.swift — passwords for single programs of a user: sections `[app NAME USER]` as JSON.
//
// Guarantee: a password is in one answer, the one that it was made by, and nowhere afterwards.

import Config
import Intake
import JSON
import Mail

/// Operations on app passwords.
enum AppPasswordEndpoints {
    private static let file = ConfigFile.passwords

    /// `GET /v1/credentials/{name}/app-passwords`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        guard case .login? = EntryScope("login", request.parameter("name")) else {
            throw Problem(.notFound, "nobody can have that name; GET /v1/credentials shows who there is")
        }
        let (_, headers) = try FileEdits.shown(file, services)
        let apps = services.settings.current.auth.apps[request.parameter("name")] ?? []
        let items = apps.sorted { $0.name < $1.name }.map { JSON.object(members($0, services)) }
        return .listing(items, headers: headers)
    }

    /// `POST /v1/credentials/{name}/app-passwords`: the answer is the one place that shows it.
    static func add(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let user = request.parameter("name")
        var body = try request.object()
        guard let name = try body.string("name", atMost: 64) else {
            throw Problem.invalid("/name", "required", "is missing: what the program is called")
        }
        let (senders, networks) = (try list("senders", &body), try list("networks", &body))
        let text = try body.string("expires_at")
        try body.finish()
        let expires = text.flatMap { Timestamp(rfc3339: $0) }
        let wish: AppPasswordWish
        do throws(AppPasswordWish.Fault) {
            if text != nil, expires == nil { throw .end }
            wish = try AppPasswordWish(
                name,
                of: user,
                senders: senders,
                networks: networks,
                expires: expires,
                at: .now()
            )
        } catch {
            throw Problem.invalid(pointer(error), "format", error.reason)
        }
        guard let made = AppPassword.make() else { throw Problem.noRandomness }
        let edit = try FileEdits.edit(file, request, services, operation: "add app password", key: user) {
            (document) throws(Problem) in
            guard !AppPassword.isThere(name, of: user, in: document) else {
                throw Problem(
                    .conflict,
                    "there is an app password of that name already; take it away first, or give the new one another name"
                )
            }
            try FileEdits.say("") { () throws(ConfigError) in
                try AppPassword.add(wish, hash: made.hash, to: &document)
            }
        }
        services.audit(request, Change(operation: "addAppPassword", subject: user, after: name))
        guard let app = edit.after.auth.apps[user]?.first(where: { $0.name.isSame(octets: name) }) else {
            throw Problem(.conflict, "the file was changed meanwhile; try again")
        }
        let all = members(app, services) + [JSON.Member("password", .string(made.secret))]
        return .json(.object(all), status: 201, headers: [FileEdits.tag(edit.revision)])
    }

    /// `DELETE /v1/credentials/{name}/app-passwords/{app}`.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (user, name) = (request.parameter("name"), request.parameter("app"))
        let edit = try FileEdits.edit(file, request, services, operation: "remove app password", key: user) {
            (document) throws(Problem) in
            guard AppPassword.remove(name, of: user, from: &document) else {
                throw Problem.missing("app password", in: "/v1/credentials/\(user)/app-passwords")
            }
        }
        services.audit(request, Change(operation: "removeAppPassword", subject: user, before: name))
        return AdminResponse(204, headers: [FileEdits.tag(edit.revision)])
    }

    // MARK: - Parts

    private static func pointer(_ fault: AppPasswordWish.Fault) -> String {
        switch fault {
        case .name, .user: "/name"
        case .sender(let place): "/senders/\(place)"
        case .network(let place): "/networks/\(place)"
        case .end: "/expires_at"
        }
    }

    /// A member that is an array of words; empty when it is missing or null.
    private static func list(_ name: String, _ body: inout JSONObject) throws(Problem) -> [String] {
        guard let value = body.take(name), value != .null else { return [] }
        guard case .array(let items) = value else {
            throw Problem.invalid("/\(name)", "type", "must be an array, not \(value.kind)")
        }
        var words: [String] = []
        for (place, item) in items.enumerated() {
            guard let text = item.string else {
                throw Problem.invalid("/\(name)/\(place)", "type", "must be a string, not \(item.kind)")
            }
            words.append(text)
        }
        return words
    }

    private static func members(_ app: AppPassword, _ services: AdminServices) -> [JSON.Member] {
        let account = services.gate?.snapshot.accounts[.app("\(app.name) \(app.user)")]
        return [
            JSON.Member("name", .string(app.name)),
            JSON.Member("senders", app.senders.map { .strings($0) } ?? .null),
            JSON.Member("networks", .strings(app.networks.map { "\($0)" })),
            JSON.Member("expires_at", QueueView.time(app.expires)),
            JSON.Member("last_seen", QueueView.time(account?.seenAt)),
            JSON.Member("last_address", .optional(account?.address.map { "\($0)" })),
        ]
    }
}
