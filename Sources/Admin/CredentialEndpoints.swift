// CredentialEndpoints.swift — who hands mail in, and how much: use, last seen, parked since and why; park and release.

import Config
import Intake
import JSON
import Mail
import Queue

/// Operations on credentials.
package enum CredentialEndpoints {
    /// What mail of a token of the API is counted as.
    package static func login(ofToken name: String) -> String { "token:\(name)" }

    /// `GET /v1/credentials`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["kind"])
        let kind = request.query.first { $0.name.isSame(octets: "kind") }?.value ?? "login"
        guard EntryScope.words.contains(where: { $0.isSame(octets: kind) }) else {
            throw Problem.invalid("?kind", "enum", "is none of \(EntryScope.words.joined(separator: ", "))")
        }
        let (book, now) = (try gate(services).snapshot, Timestamp.now())
        var scopes = Set(book.accounts.keys.filter { $0.word.isSame(octets: kind) })
        if kind.isSame(octets: "login") {
            scopes.formUnion(configured(services).map { .login($0) })
            scopes.formUnion(book.parked.keys.map { .login($0) })
            scopes.formUnion(services.queue.waitingByLogin.keys.map { .login($0) })
        }
        let items = scopes.sorted { $0.name < $1.name }.map { view($0, book, services, at: now) }
        return .listing(items)
    }

    /// `GET /v1/credentials/{name}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        return try answer(request.parameter("name"), services)
    }

    /// `POST /v1/credentials/{name}/park`: in force when it is answered.
    static func park(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        var body = try request.object()
        let reason = try body.string("reason", atMost: 200)
        let until = try RequestTime.upcoming(try body.string("until"), "/until")
        try body.finish()
        let name = request.parameter("name")
        guard case .login? = EntryScope("login", name) else {
            throw Problem.invalid("/name", "format", "is no name of a login")
        }
        let parking = Parking(since: .now(), until: until, reason: reason ?? "", actor: request.caller.name)
        _ = try gate(services).park(name, parking)
        services.audit(request, Change(operation: "parkCredential", subject: name, after: parking.reason))
        return try answer(name, services)
    }

    /// `POST /v1/credentials/{name}/release`.
    static func release(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let name = request.parameter("name")
        guard try gate(services).release(name, by: request.caller.name, at: .now()) else {
            throw Problem(.notFound, "it is not parked; GET /v1/credentials shows who is")
        }
        services.audit(request, Change(operation: "releaseCredential", subject: name))
        return .json(view(.login(name), try gate(services).snapshot, services, at: .now()))
    }

    // MARK: - Parts

    private static func gate(_ services: AdminServices) throws(Problem) -> EntryGate {
        guard let gate = services.gate else {
            throw Problem(
                .unavailable,
                "nobody counts mail that comes in: this relay was started without limits of mail that comes in; the log says why"
            )
        }
        return gate
    }

    /// Logins that the files have.
    private static func configured(_ services: AdminServices) -> [String] {
        let settings = services.settings.current
        return Array(settings.auth.users.keys) + settings.admin.tokens.map { login(ofToken: $0.name) }
    }

    private static func answer(_ name: String, _ services: AdminServices) throws(Problem) -> AdminResponse {
        let (book, scope) = (try gate(services).snapshot, EntryScope.login(name))
        guard
            book.accounts[scope] != nil || book.parked[name] != nil
                || configured(services).contains(where: { $0.isSame(octets: name) })
        else { throw Problem(.notFound, "nobody of that name has been here; GET /v1/credentials shows who has") }
        return .json(view(scope, book, services, at: .now()))
    }

    private static func view(
        _ scope: EntryScope,
        _ book: EntryBook,
        _ services: AdminServices,
        at now: Timestamp
    ) -> JSON {
        let account = book.accounts[scope]
        var parking: Parking?
        if case .login(let name) = scope, let known = book.parked[name], known.until.map({ $0 > now }) ?? true {
            parking = known
        }
        let terms = book.terms(of: scope)
        var waiting: WaitingMail?
        if case .login(let name) = scope { waiting = services.queue.waiting(of: name) }
        let limits = EntryMeasure.allCases.flatMap { measure in
            (terms?.limits[measure] ?? []).map { limit -> JSON in
                let use = use(of: measure, limit, account, waiting, at: now)
                return [
                    "measure": .string(measure.rawValue),
                    "limit": .string(limit.text),
                    "window_s": .count(Int(limit.window / 1000)),
                    "used": .count(use.used),
                    "most": .count(limit.most),
                    "opens_at": QueueView.time(use.opens),
                    "then": .string((terms?.then ?? .later).text),
                    "origin": .string(terms?.origins[measure.rawValue] ?? ""),
                ]
            }
        }
        return [
            "name": .string(scope.name),
            "kind": .string(scope.word),
            "parked": parking.map(view) ?? .null,
            "last_seen": QueueView.time(account?.seenAt),
            "last_address": .optional(account?.address.map { "\($0)" }),
            "surplus": .count(account?.surplus ?? 0),
            "waiting": waiting.map { ["messages": .count($0.messages), "bytes": .count($0.bytes)] } ?? .null,
            "limits": .array(limits),
        ]
    }

    /// How much of a limit is used, and when one more fits; nil: now.
    private static func use(
        of measure: EntryMeasure,
        _ limit: EntryLimit,
        _ account: EntryBook.Account?,
        _ waiting: WaitingMail?,
        at now: Timestamp
    ) -> (used: Int, opens: Timestamp?) {
        switch measure {
        case .messages, .recipients, .bytes:
            let count = account?.counts[EntryBook.Key(measure: measure, window: limit.window)]
            return (count?.total(at: now) ?? 0, count?.opens(limit.most, at: now))
        case .distinct:
            let people = account?.people[limit.window]
            // A number that nobody has.
            return (people?.total(at: now) ?? 0, people?.opens(limit.most, for: [0], at: now))
        case .bounces:
            let share = account?.shares[limit.window]
            return (share?.share(at: now) ?? 0, share?.opens(limit.most, of: limit.least, at: now))
        case .waitingMessages: return (waiting?.messages ?? 0, nil)
        case .waitingBytes: return (waiting?.bytes ?? 0, nil)
        }
    }

    private static func view(_ parking: Parking) -> JSON {
        [
            "since": QueueView.time(parking.since), "until": QueueView.time(parking.until),
            "reason": .string(parking.reason), "by": .string(parking.actor),
        ]
    }
}
