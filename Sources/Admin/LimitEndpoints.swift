// LimitEndpoints.swift — limits: sections of `limits.ini` as JSON.

import Config
import JSON
import Mail
import Queue

/// Operations on `limits.ini`.
enum LimitEndpoints {
    private static let file = ConfigFile.limits

    /// `GET /v1/limits`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (entries, headers) = try table(services)
        return .json(
            [
                "items": .array(entries.map(view)), "next": nil, "total": .count(entries.count), "total_exact": true,
            ],
            headers: headers
        )
    }

    /// `GET /v1/limits/{scope}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let scope = try scope(request)
        let (entries, headers) = try table(services)
        guard let entry = entries.first(where: { $0.scope == scope }) else { throw missing }
        return .json(view(entry), headers: headers)
    }

    /// The sections in the order of the file; none of a file that is broken.
    private static func table(_ services: AdminServices) throws(Problem) -> ([LimitEntry], [HeaderField]) {
        let (document, headers) = try FileEdits.shown(file, services)
        return (
            document.map { LimitSettings.entries(in: $0) }
                ?? LimitSettings.entries(of: services.settings.current.limits), headers
        )
    }

    /// `PUT /v1/limits/{scope}`.
    static func put(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        let scope = try scope(request)
        let draft = try draft(request, scope)
        let isCreateOnly = request.header("if-none-match") == "*"
        return try edited(request, services, "putLimit", scope) { (old) throws(Problem) in
            guard old == nil || !isCreateOnly else { throw Problem(.stale, "there is a section of that name already") }
            return LimitEntry(scope: scope, hosts: draft.hosts ?? [], values: draft.values.compactMapValues(\.self))
        }
    }

    /// `PATCH /v1/limits/{scope}`: what is left out stays.
    static func patch(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        let scope = try scope(request)
        let draft = try draft(request, scope)
        return try edited(request, services, "editLimit", scope) { (old) throws(Problem) in
            guard let old else { throw missing }
            var values = old.values
            for (key, value) in draft.values { values[key] = value }
            return LimitEntry(scope: scope, hosts: draft.hosts ?? old.hosts, values: values)
        }
    }

    /// `DELETE /v1/limits/{scope}`.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let scope = try scope(request)
        let edit = try FileEdits.edit(file, request, services, operation: "delete limit", key: "\(scope)") {
            (document) throws(Problem) in
            guard LimitSettings.remove(scope, in: &document) else { throw missing }
        }
        if let answer = FileEdits.rehearsal(edit) { return answer }
        services.audit(request, Change(operation: "removeLimit", subject: "\(scope)"))
        return AdminResponse(204, headers: [FileEdits.tag(edit.revision)])
    }

    /// `POST /v1/limits/{scope}/reset`: what one scope has used is forgotten; the limit stays.
    static func reset(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try request.object().finish()
        let scope = try scope(request)
        guard !scope.name.isSame(octets: "*") else {
            throw Problem.invalid("/scope", "format", "names everything of a kind; each has used its own")
        }
        let isReset = services.queue.resetUse(of: scope, at: .now())
        services.audit(request, Change(operation: "resetLimit", subject: "\(scope)"))
        return .json(["scope": .string("\(scope)"), "reset": .bool(isReset)])
    }

    // MARK: - Parts

    private static func edited(
        _ request: AdminRequest,
        _ services: AdminServices,
        _ operation: String,
        _ scope: LimitScope,
        _ change: (LimitEntry?) throws(Problem) -> LimitEntry
    ) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        var (isNew, before, after) = (false, "", "")
        let edit = try FileEdits.edit(file, request, services, operation: operation, key: "\(scope)") {
            (document) throws(Problem) in
            let old = LimitSettings.entries(in: document).first { $0.scope == scope }
            isNew = old == nil
            let entry = try change(old)
            (before, after) = (shown(old), shown(entry))
            try FileEdits.say("") { () throws(ConfigError) in try LimitSettings.put(entry, in: &document) }
        }
        if let answer = FileEdits.rehearsal(edit) { return answer }
        if edit.isChanged {
            services.audit(request, Change(operation: operation, subject: "\(scope)", before: before, after: after))
        }
        let (entries, _) = try table(services)
        guard let entry = entries.first(where: { $0.scope == scope }) else {
            throw Problem(.conflict, "the section was changed meanwhile; get it again")
        }
        return .json(view(entry), status: isNew ? 201 : 200, headers: [FileEdits.tag(edit.revision)])
    }

    private static func shown(_ entry: LimitEntry?) -> String {
        guard let entry else { return "" }
        let values = LimitTerms.Key.allCases.compactMap { key in entry.values[key].map { "\(key.rawValue)=\($0)" } }
        let hosts = entry.hosts.isEmpty ? [] : ["mx=\(entry.hosts.joined(separator: ","))"]
        return (hosts + values).joined(separator: " ")
    }

    private static func view(_ entry: LimitEntry) -> JSON {
        var members = [
            JSON.Member("scope", .string("\(entry.scope)")),
            JSON.Member("origin", .string(entry.line > 0 ? "\(LimitSettings.file):\(entry.line)" : LimitSettings.file)),
            JSON.Member("mx", .strings(entry.hosts)),
        ]
        for key in LimitTerms.Key.allCases { members.append(JSON.Member(key.rawValue, .optional(entry.values[key]))) }
        return .object(members)
    }

    private static func scope(_ request: AdminRequest) throws(Problem) -> LimitScope {
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
    private struct Draft {
        var hosts: [String]?
        var values: [LimitTerms.Key: String?] = [:]
    }

    private static func draft(_ request: AdminRequest, _ scope: LimitScope) throws(Problem) -> Draft {
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
                try JSONObject.check(text, "/\(key.rawValue)", atMost: key == .warmup ? 2048 : 64)
                draft.values[key] = text
            default:
                throw Problem.invalid("/\(key.rawValue)", "type", "must be a string or a number, not \(value.kind)")
            }
        }
        try body.finish()
        return draft
    }

    private static let missing = Problem(.notFound, "limits.ini has no such section")
}
