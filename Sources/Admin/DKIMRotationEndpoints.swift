// DKIMRotationEndpoints.swift — `/v1/dkim-rotations/{domain}`: a change of keys, step by step, as `martlet dkim rotate` takes them.

import Config
import Departure
import Files
import JSON
import Mail
import OpenSSL

/// How far a change of keys is, and its next step.
enum DKIMRotationEndpoints {
    private static let file = ConfigFile.dkim

    /// `GET /v1/dkim-rotations/{domain}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let domain = try DKIMEndpoints.domain(request)
        return .json(try view(domain, services))
    }

    /// `POST /v1/dkim-rotations/{domain}`: `{step, selector, type, bits, sign_from, keep_days}`.
    static func step(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let domain = try DKIMEndpoints.domain(request)
        var body = try request.object()
        for member in ["step", "selector", "type", "bits", "sign_from", "keep_days"] { try body.refuseNull(member) }
        let step = try body.string("step")
        let (selector, type) = (try body.string("selector"), try body.string("type"))
        let (bits, from) = (try body.integer("bits", 1024...8192), try body.string("sign_from"))
        let days = try body.integer("keep_days", 1...365)
        try body.finish()
        let rotation = services.settings.current.dkim.rotations[domain]
        let edit: Edit
        switch step {
        case "prepare":
            if let type, !["rsa", "ed25519"].contains(type) {
                throw Problem.invalid("/type", "enum", "is neither rsa nor ed25519")
            }
            if let selector, !DKIMSettings.isSelector(selector) {
                throw Problem.invalid("/selector", "format", "is no selector")
            }
            guard rotation == nil else {
                throw Problem(
                    .conflict,
                    "a change of keys is under way; its next step is switch, or finish once the old key may go"
                )
            }
            let kind: SigningKey.Kind = type == "ed25519" ? .ed25519 : .rsa(bits: bits ?? 2048)
            edit = try prepare(domain, selector, kind, days, request, services)
        case "switch":
            let time = from.map { Timestamp(rfc3339: $0) } ?? .now()
            guard let time else {
                throw Problem.invalid("/sign_from", "format", "is no time such as 2027-01-31T12:00:00Z")
            }
            guard let rotation else { throw Problem(.conflict, "there is no new key: the step prepare comes first") }
            edit = try schedule(domain, rotation, time, days, request, services)
        case "finish":
            guard let rotation, rotation.stage(at: .now()) == .over else {
                throw Problem(
                    .conflict,
                    "the old key's record is still needed, or no key has changed; GET shows until when (keep_until)"
                )
            }
            edit = try finish(domain, rotation, request, services)
        case nil: throw Problem.invalid("/step", "required", "is missing")
        case _?: throw Problem.invalid("/step", "enum", "is none of prepare, switch, finish")
        }
        if let rehearsal = FileEdits.rehearsal(edit) { return rehearsal }
        return .json(try view(domain, services))
    }

    // MARK: - Steps

    private static func prepare(
        _ domain: Domain,
        _ selector: String?,
        _ kind: SigningKey.Kind,
        _ days: Int?,
        _ request: AdminRequest,
        _ services: AdminServices
    ) throws(Problem) -> Edit {
        let files = DKIMKeyFiles(services.settings.directory)
        let name = selector ?? files.freshSelector(domain, isRSA: kind != .ed25519, at: .now())
        let key: SigningKey
        do throws(TLSError) { key = try SigningKey.generate(kind) } catch {
            throw .keyNotMade(error)
        }
        guard files.key(domain, name) == nil else {
            throw Problem(.conflict, "there is such a key already; name another selector")
        }
        do throws(DiskError) { try files.write(key, domain, name) } catch {
            throw .keyNotWritten(error)
        }
        var isKept = false
        // Nobody has published it, so nobody misses it.
        defer { if !isKept { try? files.remove(domain, name) } }
        let edit = try edit(domain, "prepareDKIMRotation", request, services) { (document) throws(ConfigError) in
            try DKIMTurn.prepare(domain, [name], keepDays: days, in: &document)
        }
        isKept = !edit.isRehearsal
        return edit
    }

    private static func schedule(
        _ domain: Domain,
        _ rotation: DKIMRotation,
        _ time: Timestamp,
        _ days: Int?,
        _ request: AdminRequest,
        _ services: AdminServices
    ) throws(Problem) -> Edit {
        for key in rotation.next {
            let record = DKIMRecord(domain, key.selector, key.key)
            let guide = services.guide
            let publication = try services.wait { await guide.publication(of: record) }
            guard publication == .published else {
                throw Problem(
                    .conflict,
                    "\(record.name) \(publication.words): nothing is changed; publish it, and try again once the DNS shows it"
                )
            }
        }
        return try edit(domain, "switchDKIMRotation", request, services) { (document) throws(ConfigError) in
            try DKIMTurn.schedule(domain, from: time, keepDays: days, in: &document)
        }
    }

    private static func finish(
        _ domain: Domain,
        _ rotation: DKIMRotation,
        _ request: AdminRequest,
        _ services: AdminServices
    ) throws(Problem) -> Edit {
        let keys = services.settings.current.dkim.domains[domain] ?? []
        let signing = rotation.keys(keys, at: .now()).map(\.selector)
        let edit = try edit(domain, "finishDKIMRotation", request, services) { (document) throws(ConfigError) in
            try DKIMTurn.finish(domain, signing, in: &document)
        }
        guard !edit.isRehearsal else { return edit }
        let files = DKIMKeyFiles(services.settings.directory)
        for key in keys where !signing.contains(key.selector) { try? files.remove(domain, key.selector) }
        return edit
    }

    // MARK: - Parts

    private static func edit(
        _ domain: Domain,
        _ operation: String,
        _ request: AdminRequest,
        _ services: AdminServices,
        _ change: (inout INIDocument) throws(ConfigError) -> Void
    ) throws(Problem) -> Edit {
        let edit = try FileEdits.edit(file, request, services, operation: operation, key: "\(domain)") {
            (document) throws(Problem) in
            try FileEdits.say("/step") { () throws(ConfigError) in try change(&document) }
        }
        if !edit.isRehearsal { services.audit(request, Change(operation: operation, subject: "\(domain)")) }
        return edit
    }

    private static func view(_ domain: Domain, _ services: AdminServices) throws(Problem) -> JSON {
        let (dkim, now) = (services.settings.current.dkim, Timestamp.now())
        guard let signing = dkim.keys(of: domain, at: now) else {
            throw Problem(.notFound, "the domain has no keys; PUT /v1/dkim-keys/{domain}/{selector} makes one")
        }
        var json: JSON = [
            "domain": .string(domain.name), "stage": "none", "signing": .strings(signing.map(\.selector)), "next": [],
            "sign_from": nil, "keep_until": nil,
        ]
        guard let rotation = dkim.rotations[domain] else { return json }
        json["sign_from"] = .optional(rotation.signFrom?.rfc3339)
        switch rotation.stage(at: now) {
        case .prepared: json["stage"] = "prepared"
        case .scheduled: json["stage"] = "scheduled"
        case .switched(let end): (json["stage"], json["keep_until"]) = ("switched", .string(end.rfc3339))
        case .over: json["stage"] = "over"
        }
        var next: [JSON] = []
        for key in rotation.next {
            let (record, guide) = (DKIMRecord(domain, key.selector, key.key), services.guide)
            next.append([
                "selector": .string(key.selector),
                "record": ["name": .string(record.name), "type": "TXT", "value": .string(record.value)],
                "publication": .string(try services.wait { await guide.publication(of: record) }.name),
            ])
        }
        json["next"] = .array(next)
        return json
    }
}
