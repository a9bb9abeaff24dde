// RouteEndpoints.swift — the route table: sections of `routes.ini` as JSON in the document's MX vocabulary.
//
// A section's name is the key; every answer carries the entity tag of the whole file, so a change is based on all of it.

import Config
import JSON
import Mail
import Queue
import Storage

/// Operations on `routes.ini`: `/v1/routes`.
enum RouteEndpoints: ConfigTable {
    static let file = ConfigFile.routes
    static let words = TableWords(
        noun: "route",
        missing: .missing("route", in: "/v1/routes"),
        taken: "there is a route of that name already",
        areNamesJudged: false
    )
    static let isBySection = true
    static let hasPreviews = true

    static func preview(_ edit: Edit, _ services: AdminServices) -> ChangePreview? {
        ChangePreview(routes: edit.before.routes, edit.after.routes, services.queue)
    }

    /// Routes on a page.
    private static let longestPage = 10_000

    /// `GET /v1/routes`: all, or a page of them in the order of the file.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["limit", "cursor"])
        let limit = try request.number("limit", 1...longestPage)
        let (document, headers) = try FileEdits.shown(file, services)
        let all = rows(document, services.settings.current, services)
        var page = all[...]
        if let cursor = request.value("cursor") {
            guard let last = all.firstIndex(where: { $0.match == cursor }) else {
                throw Problem.invalid("?cursor", "expired", "the last page's last route is gone; begin again")
            }
            page = all[(last + 1)...]
        }
        let shown = page.prefix(limit ?? .max)
        return .listing(
            shown.map { view($0, services) },
            next: shown.count < page.count ? shown.last?.match : nil,
            total: all.count,
            headers: headers
        )
    }

    static func rows(_ document: INIDocument?, _ settings: Settings, _ services: AdminServices) -> [Routes.Entry] {
        let routes = settings.routes
        var matches = document.map { names($0).map(\.match) } ?? routes.all.keys.sorted()
        if pin(smartHost, services) != nil, !matches.contains(smartHost) { matches.append(smartHost) }
        return matches.compactMap { routes.route(named: $0) }
    }

    static func row(
        _ key: String,
        _ document: INIDocument?,
        _ settings: Settings,
        _ services: AdminServices
    ) -> Routes.Entry? {
        settings.routes.route(named: key)
    }

    static func isNamed(_ row: Routes.Entry, _ key: String) -> Bool { row.match.isSame(octets: key) }

    static func has(_ key: String, _ document: INIDocument, _ services: AdminServices) -> Bool {
        // Of a hundred thousand names few are not in normal form.
        document.sections.contains { $0.isSame(octets: key) }
            || names(document).contains { $0.match.isSame(octets: key) }
    }

    static func draft(
        _ request: AdminRequest,
        _ match: String,
        isPatch: Bool,
        _ services: AdminServices
    ) throws(Problem) -> JSONObject {
        var object = try JSONObject(request.json(), at: "")
        try object.passOver("messages_rerouted", "a whole number", JSONObject.isCount)
        try object.passOver("messages_rerouted_exact", "true or false") { $0.bool != nil }
        try passOverOrigin(&object)
        try object.passOverName("match") { Routes.normalized($0) == match }
        return object
    }

    static func write(
        _ draft: inout JSONObject,
        _ key: String,
        over old: Routes.Entry?,
        isPatch: Bool,
        to document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem) {
        let known = RouteSection.all(in: document)[key]
        try write(draft, key, over: known, to: &document, isPatch: isPatch, services)
    }

    static func erase(_ key: String, from document: inout INIDocument, _ services: AdminServices) -> Bool {
        guard let known = names(document).first(where: { $0.match == key }) else { return false }
        document.removeSection(known.section)
        return true
    }

    static func removed(
        _ key: String,
        _ edit: Edit,
        _ consequences: [JSON.Member],
        _ services: AdminServices
    ) throws(Problem) -> JSON? {
        guard let gone = edit.before.routes.route(named: key) else { throw words.missing }
        return .object(view(gone, services).members + consequences)
    }

    static func location(_ key: String) -> String? { "/v1/routes/\(PercentEncoding.encoded(key, keeping: "*@"))" }

    /// What the change means for queued mail.
    static func consequences(_ edit: Edit, _ services: AdminServices) -> [JSON.Member] {
        guard edit.isChanged else { return [] }
        let rerouted = RouteView.rerouted(edit, services.queue)
        return [
            JSON.Member("messages_rerouted", .count(rerouted.count)),
            JSON.Member("messages_rerouted_exact", .bool(rerouted.isExact)),
        ]
    }

    /// `PUT /v1/routes`: the whole table.
    static func replace(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request, plans: true)
        let (wanted, matches) = try table(request, services)
        let operation = "replace routes"
        let edit = try FileEdits.edit(
            file,
            request,
            services,
            operation: operation,
            key: "*",
            preview: { preview($0, services) }
        ) { (document) throws(Problem) in
            let known = RouteSection.all(in: document)
            for (match, old) in known where !matches.contains(match) && pin(match, services) == nil {
                document.removeSection(old.name)
            }
            for (match, object) in wanted {
                try write(object, match, over: known[match], to: &document, isPatch: false, services)
            }
        }
        let consequences = consequences(edit, services)
        let planned = FileEdits.planned(edit, edit.isRehearsal ? preview(edit, services) : nil, services)
        if let rehearsal = FileEdits.rehearsal(edit, consequences + planned) { return rehearsal }
        if edit.isChanged { services.audit(request, Change(operation: operation, subject: "*")) }
        let routes = edit.after.routes
        let views = wanted.compactMap { routes.route(named: $0.match).map { view($0, services) } }
        return .json(
            .object(
                [
                    JSON.Member("items", .array(views)), JSON.Member("next", nil),
                    JSON.Member("total", .count(views.count)), JSON.Member("total_exact", true),
                ] + consequences
            ),
            headers: [FileEdits.tag(edit.revision)]
        )
    }

    // MARK: - Parts

    /// A whole table as a client has it: the rows that the file is to have, and the names of all.
    private static func table(
        _ request: AdminRequest,
        _ services: AdminServices
    ) throws(Problem) -> (wanted: [(match: String, object: JSONObject)], matches: Set<String>) {
        var body = try JSONObject(request.json(), at: "")
        guard let items = try body.array("items") else {
            throw Problem.invalid("/items", "required", "is missing: the routes of the whole table")
        }
        try body.passOver("next", "a string or null") { $0 == .null || $0.string != nil }
        try body.passOver("total", "a whole number", JSONObject.isCount)
        try body.passOver("total_exact", "true or false") { $0.bool != nil }
        try body.finish()
        var wanted: [(match: String, object: JSONObject)] = []
        var matches: Set<String> = []
        for (index, item) in items.enumerated() {
            var object = try JSONObject(item, at: "/items/\(index)")
            guard let name = try object.string("match"), let match = Routes.normalized(name) else {
                throw Problem.invalid(
                    "/items/\(index)/match",
                    "format",
                    "is no address, domain, *.suffix or *, nor \"sender X\" or \"sender X to Y\""
                )
            }
            guard matches.insert(match).inserted else {
                throw Problem.invalid("/items/\(index)/match", "duplicate", "comes twice")
            }
            let origin = item["origin"]?.string
            try passOverOrigin(&object)
            if pin(match, services) != nil {
                // As it was shown; the table of the file is the rest.
                if origin != "environment" { try allowChange(match, services) }
                continue
            }
            wanted.append((match, object))
        }
        return (wanted, matches)
    }

    /// Writes what a client says of a route, unless it is what the file says already.
    private static func write(
        _ object: JSONObject,
        _ match: String,
        over known: (name: String, section: RouteSection?)?,
        to document: inout INIDocument,
        isPatch: Bool,
        _ services: AdminServices
    ) throws(Problem) {
        var draft = RouteDraft(known?.section, isLocal: services.settings.isLocal)
        try draft.apply(object, isPatch: isPatch)
        let section = try draft.section()
        if known?.section != nil, draft.isUnchanged(section) { return }
        do throws(RouteSection.Unwritable) {
            try section.write(to: &document, section: known?.name ?? match)
        } catch {
            throw Problem.invalid(
                "\(object.pointer)/mx/\(error.host)/\(error.property.rawValue)",
                "impossible",
                error.reason
            )
        }
    }

    /// A route for the log, without its secrets.
    static func logged(_ route: Routes.Entry) -> String {
        String(decoding: RouteView.route(route, from: nil).bytes, as: UTF8.self)
    }

    /// The sections of the file, with their names in normal form.
    private static func names(_ document: INIDocument) -> [(section: String, match: String)] {
        document.sections.compactMap { name in Routes.normalized(name).map { (name, $0) } }
    }

    static func key(_ request: AdminRequest) throws(Problem) -> String {
        let name = request.parameter("match")
        guard let match = Routes.normalized(name) else {
            throw .badName(
                "match",
                "the name of a route is an address, a domain, *.suffix, *, one of them behind \"sender \", or \"sender X to Y\""
            )
        }
        return match
    }

    /// The one route that variables can give.
    private static let smartHost = "*"

    /// The variable that gives a route in place of the file; nil: the file does.
    private static func pin(_ match: String, _ services: AdminServices) -> String? {
        services.settings.environment.pin("mx", in: match, of: ConfigFile.routes.name)?.variable
    }

    static func view(_ route: Routes.Entry, _ services: AdminServices) -> JSON {
        RouteView.route(route, from: pin(route.match, services))
    }

    /// - Throws: 409 for a route that an edit of the file would not change.
    static func allowChange(_ match: String, _ services: AdminServices) throws(Problem) {
        guard let variable = pin(match, services) else { return }
        throw Problem(
            .pinned,
            "the route \(match) is set by the environment variable \(variable) and its kin, which stand above routes.ini; "
                + "change them and start the relay again, or take them away and put the route"
        )
    }

    /// Where a route comes from may be repeated.
    private static func passOverOrigin(_ object: inout JSONObject) throws(Problem) {
        try object.passOver("origin", "file or environment") { ["file", "environment"].contains($0.string) }
        try object.passOver("variable", "a string") { $0.string != nil }
    }
}
