// RewriteEndpoints.swift — addresses that become others: tables of `rewrite.ini` as JSON.

import Config
import JSON
import Mail

/// Operations on `rewrite.ini`.
enum RewriteEndpoints {
    private static let file = ConfigFile.rewriting
    /// Lines of a table that are taken.
    private static let most = 10_000

    /// `GET /v1/rewriting`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (tables, headers) = try tables(services)
        return .json(
            ["items": .array(tables.map(view)), "next": nil, "total": .count(tables.count), "total_exact": true],
            headers: headers
        )
    }

    /// `PUT /v1/rewriting/{table}`: the whole table.
    static func put(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let table = try draft(request)
        var isNew = false
        let edit = try FileEdits.edit(file, request, services, operation: "put rewriting", key: table.name) {
            (document) throws(Problem) in
            isNew = !Rewriting.tables(in: document).contains { $0.name.isSame(octets: table.name) }
            guard isNew || request.header("if-none-match") != "*" else {
                throw Problem(.stale, "there is a table of that name already")
            }
            try FileEdits.say("/rules") { () throws(ConfigError) in try Rewriting.put(table, in: &document) }
        }
        if let answer = FileEdits.rehearsal(edit) { return answer }
        if edit.isChanged { services.audit(request, Change(operation: "putRewriting", subject: table.name)) }
        let (tables, _) = try tables(services)
        guard let made = tables.first(where: { $0.name.isSame(octets: table.name) }) else {
            throw Problem(.conflict, "the table was changed meanwhile; get it again")
        }
        return .json(view(made), status: isNew ? 201 : 200, headers: [FileEdits.tag(edit.revision)])
    }

    /// `DELETE /v1/rewriting/{table}`.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let name = try table(request).name
        let edit = try FileEdits.edit(file, request, services, operation: "delete rewriting", key: name) {
            (document) throws(Problem) in
            guard Rewriting.remove(name, in: &document) else {
                throw Problem(.notFound, "rewrite.ini has no such table")
            }
        }
        if let answer = FileEdits.rehearsal(edit) { return answer }
        services.audit(request, Change(operation: "removeRewriting", subject: name))
        return AdminResponse(204, headers: [FileEdits.tag(edit.revision)])
    }

    // MARK: - Parts

    /// The tables in the order of the file; none of a file that is broken.
    private static func tables(_ services: AdminServices) throws(Problem) -> ([Rewriting.Table], [HeaderField]) {
        let (document, headers) = try FileEdits.shown(file, services)
        return (
            document.map { Rewriting.tables(in: $0) } ?? services.settings.current.rewriting.tables, headers
        )
    }

    private static func view(_ table: Rewriting.Table) -> JSON {
        [
            "table": .string(table.name),
            "rules": .array(
                table.rules.map { rule in
                    [
                        "match": .string(rule.match), "becomes": .string(rule.target),
                        "origin": .string(rule.origin),
                    ]
                }
            ),
        ]
    }

    private static func table(_ request: AdminRequest) throws(Problem) -> Rewriting.Table {
        guard let table = Rewriting.table(request.parameter("table")) else {
            throw Problem(
                .invalid,
                "a table is senders or recipients, and may be for some mail: senders login app",
                issues: [Problem.Issue("/table", "format", "is no such name")]
            )
        }
        return table
    }

    private static func draft(_ request: AdminRequest) throws(Problem) -> Rewriting.Table {
        var table = try table(request)
        var body = try JSONObject(request.json(), at: "")
        // What comes out goes in.
        try body.refuseNull("table")
        if let given = try body.string("table"), Rewriting.table(given)?.name != table.name {
            throw Problem.invalid("/table", "exclusive", "names another table than the path")
        }
        guard case .array(let rules)? = body.take("rules") else {
            throw Problem.invalid("/rules", "type", "must be a list of rules")
        }
        guard rules.count <= most else { throw Problem.invalid("/rules", "length", "has more than \(most) rules") }
        for (index, item) in rules.enumerated() {
            var rule = try JSONObject(item, at: "/rules/\(index)")
            try rule.refuseNull("origin")
            _ = try rule.string("origin")
            guard let match = try rule.string("match"), let target = try rule.string("becomes") else {
                throw Problem.invalid("/rules/\(index)", "required", "has no match, or does not say what it becomes")
            }
            try rule.finish()
            do throws(ValueError) {
                try table.add(match, target, at: Rewriting.file)
            } catch {
                throw Problem.invalid("/rules/\(index)", "format", error.reason)
            }
        }
        try body.finish()
        guard !table.rules.isEmpty else { throw Problem.invalid("/rules", "length", "names no rule") }
        return table
    }
}

extension JSON {
    /// What `rewrite.ini` makes of an address, and which line says so; null when no line names it.
    ///
    /// - Parameter part: `envelope` is what explains; a header has its own key.
    init(_ address: EmailAddress, _ direction: Rewriting.Direction, by rewriter: Rewriter?) {
        guard let (rule, table) = rewriter?.rule(for: address, direction) else {
            let becomes = rewriter?.rewritten(address, direction) ?? address
            self = becomes == address ? .null : Self.bySRS(address, becomes)
            return
        }
        let becomes = rule.replacement?.applied(to: address) ?? address
        self = [
            "was": .string("\(address)"), "becomes": .string("\(becomes)"), "because": .string(rule.origin),
            "rule": .string("[\(table)] \(rule.match) = \(rule.target)"),
            "in": .strings(
                Rewriting.Part.allCases.filter { rewriter?.covers($0, of: direction) ?? false }.map(\.rawValue)
            ),
        ]
    }

    private static func bySRS(_ address: EmailAddress, _ becomes: EmailAddress) -> JSON {
        [
            "was": .string("\(address)"), "becomes": .string("\(becomes)"), "because": .string(Rewriting.file),
            "rule": "[srs]", "in": ["envelope"],
        ]
    }
}
