// RouteEndpoints.swift — the route table: sections of `routes.ini` as JSON in the document's MX vocabulary.
//
// A section's name is the key; every answer carries the entity tag of the whole file, so a change is based on all of it.

import Config
import JSON
import Mail
import Queue
import Storage

/// Operations on `routes.ini`.
enum RouteEndpoints {
    /// Routes on a page.
    private static let longestPage = 10_000

    /// `GET /v1/routes`: all, or a page of them in the order of the file.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["limit", "cursor"])
        let limit = try request.number("limit", 1...longestPage)
        let (document, headers) = try FileEdits.shown(.routes, services)
        let routes = services.settings.current.routes
        var matches = document.map { names($0).map(\.match) } ?? routes.all.keys.sorted()
        if pin(smartHost, services) != nil, !matches.contains(smartHost) { matches.append(smartHost) }
        let all = matches.compactMap { routes.route(named: $0) }
        var page = all[...]
        if let cursor = request.value("cursor") {
            guard let last = all.firstIndex(where: { $0.match == cursor }) else {
                throw Problem.invalid("?cursor", "expired", "the last page's last route is gone; begin again")
            }
            page = all[(last + 1)...]
        }
        let shown = page.prefix(limit ?? .max)
        let next = shown.count < page.count ? shown.last?.match : nil
        return .json(
            [
                "items": .array(shown.map { view($0, services) }), "next": next.map { .string($0) } ?? nil,
                "total": .count(all.count), "total_exact": true,
            ],
            headers: headers
        )
    }

    /// `GET /v1/routes/{match}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let headers = FileEdits.headers(of: .routes, services)
        guard let match = Routes.normalized(request.parameter("match")),
            let route = services.settings.current.routes.route(named: match)
        else { throw missing(request.parameter("match")) }
        return .json(view(route, services), headers: headers)
    }

    /// `PUT /v1/routes/{match}`.
    static func put(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, isPatch: false)
    }

    /// `PATCH /v1/routes/{match}`.
    static func patch(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, isPatch: true)
    }

    private static func change(
        _ request: AdminRequest,
        _ services: AdminServices,
        isPatch: Bool
    ) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let match = try match(request)
        let value = try request.json()
        var object = try JSONObject(value, at: "")
        try checkName(&object, match)
        try refusePinned(match, services)
        var isNew = false
        let written = try edited(request, services, isPatch ? "patch route" : "put route", match, isAlone: true) {
            (document) throws(Problem) in
            let known = RouteSection.all(in: document)[match]
            isNew = known == nil
            guard !isPatch || !isNew else { throw missing(match) }
            guard request.header("if-none-match") != "*" || isNew else {
                throw Problem(.stale, "there is a route of that name already")
            }
            try write(object, match, over: known, to: &document, isPatch: isPatch, services)
        }
        if let rehearsal = FileEdits.rehearsal(written.edit, written.members) { return rehearsal }
        guard let route = written.edit.after.routes.route(named: match) else { throw missing(match) }
        return .json(
            .object(view(route, services).members + written.members),
            status: isNew ? 201 : 200,
            headers: [FileEdits.tag(written.edit.revision)]
                + (isNew
                    ? [HeaderField("Location", "/v1/routes/\(PercentEncoding.encoded(match, keeping: "*@"))")] : [])
        )
    }

    /// `PUT /v1/routes`: the whole table.
    static func replace(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
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
                if origin != "environment" { try refusePinned(match, services) }
                continue
            }
            wanted.append((match, object))
        }
        let written = try edited(request, services, "replace routes", "*") { (document) throws(Problem) in
            let known = RouteSection.all(in: document)
            for (match, old) in known where !matches.contains(match) && pin(match, services) == nil {
                document.removeSection(old.name)
            }
            for (match, object) in wanted {
                try write(object, match, over: known[match], to: &document, isPatch: false, services)
            }
        }
        if let rehearsal = FileEdits.rehearsal(written.edit, written.members) { return rehearsal }
        let routes = written.edit.after.routes
        let views = wanted.compactMap { routes.route(named: $0.match).map { view($0, services) } }
        return .json(
            .object(
                [
                    JSON.Member("items", .array(views)), JSON.Member("next", nil),
                    JSON.Member("total", .count(views.count)), JSON.Member("total_exact", true),
                ] + written.members
            ),
            headers: [FileEdits.tag(written.edit.revision)]
        )
    }

    /// `DELETE /v1/routes/{match}`.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let match = try match(request)
        try refusePinned(match, services)
        let written = try edited(request, services, "delete route", match, isAlone: true) {
            (document) throws(Problem) in
            guard let known = names(document).first(where: { $0.match == match }) else { throw missing(match) }
            document.removeSection(known.section)
        }
        if let rehearsal = FileEdits.rehearsal(written.edit, written.members) { return rehearsal }
        let gone = written.edit.before.routes.route(named: match).map { view($0, services) }
        guard case .object(let members)? = gone else { throw missing(match) }
        return .json(.object(members + written.members), headers: [FileEdits.tag(written.edit.revision)])
    }

    // MARK: - Parts

    /// An edit that was made.
    private struct Written {
        let edit: Edit
        /// What the change means for queued mail.
        let members: [JSON.Member]
    }

    private static func edited(
        _ request: AdminRequest,
        _ services: AdminServices,
        _ operation: String,
        _ match: String,
        isAlone: Bool = false,
        _ body: (inout INIDocument) throws(Problem) -> Void
    ) throws(Problem) -> Written {
        let section = isAlone ? match : nil
        let edit = try FileEdits.edit(
            .routes,
            section: section,
            request,
            services,
            operation: operation,
            key: match,
            body
        )
        guard edit.isChanged else { return Written(edit: edit, members: []) }
        if !edit.isRehearsal {
            services.audit(
                request,
                Change(
                    operation: operation,
                    subject: match,
                    before: shown(edit.before.routes.route(named: match)),
                    after: shown(edit.after.routes.route(named: match))
                )
            )
        }
        let rerouted = RouteView.rerouted(edit, services.queue)
        return Written(
            edit: edit,
            members: [
                JSON.Member("messages_rerouted", .count(rerouted.count)),
                JSON.Member("messages_rerouted_exact", .bool(rerouted.isExact)),
            ]
        )
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
    private static func shown(_ route: Routes.Route?) -> String {
        route.map { String(decoding: RouteView.route($0, from: nil).bytes, as: UTF8.self) } ?? ""
    }

    /// The sections of the file, with their names in normal form.
    private static func names(_ document: INIDocument) -> [(section: String, match: String)] {
        document.sections.compactMap { name in Routes.normalized(name).map { (name, $0) } }
    }

    private static func match(_ request: AdminRequest) throws(Problem) -> String {
        let name = request.parameter("match")
        guard let match = Routes.normalized(name) else {
            throw Problem(
                .invalid,
                "the name of a route is an address, a domain, *.suffix, *, one of them behind \"sender \", or \"sender X to Y\"",
                issues: [Problem.Issue("/match", "format", "is no such name")]
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

    private static func view(_ route: Routes.Route, _ services: AdminServices) -> JSON {
        RouteView.route(route, from: pin(route.match, services))
    }

    /// - Throws: 409 for a route that an edit of the file would not change.
    private static func refusePinned(_ match: String, _ services: AdminServices) throws(Problem) {
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

    /// The body may repeat the name and where the route comes from, and nothing else.
    private static func checkName(_ object: inout JSONObject, _ match: String) throws(Problem) {
        try object.passOver("messages_rerouted", "a whole number", JSONObject.isCount)
        try object.passOver("messages_rerouted_exact", "true or false") { $0.bool != nil }
        try passOverOrigin(&object)
        try object.refuseNull("match")
        guard let given = try object.string("match") else { return }
        guard Routes.normalized(given) == match else {
            throw Problem.invalid("/match", "exclusive", "is another name than the path's")
        }
    }

    private static func missing(_ match: String) -> Problem { Problem(.notFound, "there is no route of that name") }
}
