// RewriteEndpoints.swift — addresses that become others: tables of `rewrite.ini` as JSON.

import Config
import JSON
import Mail

/// Operations on `rewrite.ini`: `/v1/rewriting`.
enum RewriteEndpoints: ConfigTable {
    static let file = ConfigFile.rewriting
    static let words = TableWords(
        noun: "rewriting",
        missing: .missing("table", in: "/v1/rewriting"),
        taken: "there is a table of that name already"
    )
    /// Lines of a table that are taken.
    private static let most = 10_000

    static func rows(_ document: INIDocument?, _ settings: Settings, _ services: AdminServices) -> [Rewriting.Table] {
        document.map { Rewriting.tables(in: $0) } ?? settings.rewriting.tables
    }

    static func isNamed(_ row: Rewriting.Table, _ key: String) -> Bool { row.name.isSame(octets: key) }

    static func key(_ request: AdminRequest) throws(Problem) -> String { try table(request).name }

    static func write(
        _ draft: inout Rewriting.Table,
        _ key: String,
        over old: Rewriting.Table?,
        isPatch: Bool,
        to document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem) {
        let table = draft
        try FileEdits.say("/rules") { () throws(ConfigError) in try Rewriting.put(table, in: &document) }
    }

    static func erase(_ key: String, from document: inout INIDocument, _ services: AdminServices) -> Bool {
        Rewriting.remove(key, in: &document)
    }

    static func logged(_ row: Rewriting.Table) -> String { "\(row.rules.count) rules" }

    static func view(_ table: Rewriting.Table, _ services: AdminServices) -> JSON {
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
            throw .badName("table", "a table is senders or recipients, and may be for some mail: senders login app")
        }
        return table
    }

    static func draft(
        _ request: AdminRequest,
        _ key: String,
        isPatch: Bool,
        _ services: AdminServices
    ) throws(Problem) -> Rewriting.Table {
        var table = try table(request)
        var body = try JSONObject(request.json(), at: "")
        // What comes out goes in.
        try body.passOverName("table") { Rewriting.table($0)?.name == table.name }
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
