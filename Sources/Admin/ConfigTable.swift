// ConfigTable.swift — a table of a configuration file as the API has it: list, show, put, patch and delete, once for all of them.
//
// Guarantees: every answer carries the entity tag of the whole file, and a change is based on all of it; what is answered is on
// disk and in force; a refusal and a rehearsal change nothing.

import Config
import JSON
import Mail

/// The words of a table that answers and logs have.
struct TableWords {
    /// `limit`: what `put limit` puts.
    let noun: String
    /// There is none of that name.
    let missing: Problem
    /// Why a PUT that may only make one is refused.
    let taken: String
    /// A name that no row can have is 422 where it is only asked for, too; else it is 404.
    var areNamesJudged = true
}

/// What is one table's own.
protocol ConfigTable {
    /// What a row is called.
    associatedtype Key: CustomStringConvertible
    associatedtype Row
    /// What a body says of a row.
    associatedtype Draft

    static var file: ConfigFile { get }
    static var words: TableWords { get }
    /// Each row is a section of the file that stands alone: an edit reads, checks and writes that section, however long the file is,
    /// and a row is shown as it is in force.
    static var isBySection: Bool { get }

    /// `GET` of the table; a long one has pages.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse

    /// The name in the path, in normal form.
    static func key(_ request: AdminRequest) throws(Problem) -> Key

    /// Whether a row may be changed at all.
    static func allowChange(_ key: Key, _ services: AdminServices) throws(Problem)

    static func draft(
        _ request: AdminRequest,
        _ key: Key,
        isPatch: Bool,
        _ services: AdminServices
    ) throws(Problem) -> Draft

    /// The rows in the order of the file.
    ///
    /// - Parameter document: nil when the file is broken; then those in force.
    static func rows(_ document: INIDocument?, _ settings: Settings, _ services: AdminServices) -> [Row]

    static func row(
        _ key: Key,
        _ document: INIDocument?,
        _ settings: Settings,
        _ services: AdminServices
    ) -> Row?

    static func isNamed(_ row: Row, _ key: Key) -> Bool

    /// Whether the file has such a row.
    static func has(_ key: Key, _ document: INIDocument, _ services: AdminServices) -> Bool

    /// Writes a row.
    ///
    /// - Parameter old: as it was; a patch is about one that is there.
    static func write(
        _ draft: inout Draft,
        _ key: Key,
        over old: Row?,
        isPatch: Bool,
        to document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem)

    /// Takes a row away.
    ///
    /// - Returns: whether there was one.
    static func erase(
        _ key: Key,
        from document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem) -> Bool

    static func view(_ row: Row, _ services: AdminServices) -> JSON

    /// A row for the log, without its secrets.
    static func logged(_ row: Row) -> String

    /// What else an edit, or a rehearsal of one, comes to.
    static func consequences(_ edit: Edit, _ services: AdminServices) -> [JSON.Member]

    /// A rehearsal shows what becomes of waiting mail, and gives a plan.
    static var hasPreviews: Bool { get }

    /// What an edit would mean for waiting mail; nil: nothing can be said.
    static func preview(_ edit: Edit, _ services: AdminServices) -> ChangePreview?

    /// What is shown of a draft this once.
    static func secrets(_ draft: Draft) -> [JSON.Member]

    /// Where a new row is; nil: nobody is told.
    static func location(_ key: Key) -> String?

    /// Called when a row is gone.
    ///
    /// - Returns: the body of the answer; nil for none.
    static func removed(
        _ key: Key,
        _ edit: Edit,
        _ consequences: [JSON.Member],
        _ services: AdminServices
    ) throws(Problem) -> JSON?
}

extension ConfigTable {
    static var isBySection: Bool { false }

    static func allowChange(_ key: Key, _ services: AdminServices) {}

    static func row(
        _ key: Key,
        _ document: INIDocument?,
        _ settings: Settings,
        _ services: AdminServices
    ) -> Row? {
        rows(document, settings, services).first { isNamed($0, key) }
    }

    static func has(_ key: Key, _ document: INIDocument, _ services: AdminServices) -> Bool {
        row(key, document, services.settings.current, services) != nil
    }

    static func consequences(_ edit: Edit, _ services: AdminServices) -> [JSON.Member] { [] }

    static var hasPreviews: Bool { false }

    static func preview(_ edit: Edit, _ services: AdminServices) -> ChangePreview? { nil }

    static func secrets(_ draft: Draft) -> [JSON.Member] { [] }

    static func location(_ key: Key) -> String? { nil }

    static func removed(
        _ key: Key,
        _ edit: Edit,
        _ consequences: [JSON.Member],
        _ services: AdminServices
    ) -> JSON? { nil }
}

// MARK: - Operations

extension ConfigTable {
    /// `GET` of the table.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (document, headers) = try FileEdits.shown(file, services)
        let rows = rows(document, services.settings.current, services)
        return .listing(rows.map { view($0, services) }, headers: headers)
    }

    /// `GET` of a row.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let key: Key
        do throws(Problem) { key = try Self.key(request) } catch {
            throw words.areNamesJudged ? error : words.missing
        }
        let (document, headers) = try shown(services)
        guard let row = row(key, document, services.settings.current, services) else { throw words.missing }
        return .json(view(row, services), headers: headers)
    }

    /// `PUT`: a whole row.
    static func put(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, isPatch: false)
    }

    /// `PATCH`: what is left out stays.
    static func patch(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, isPatch: true)
    }

    private static func change(
        _ request: AdminRequest,
        _ services: AdminServices,
        isPatch: Bool
    ) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request, plans: hasPreviews)
        let key = try key(request)
        try allowChange(key, services)
        var draft = try draft(request, key, isPatch: isPatch, services)
        var (isNew, old) = (false, Row?.none)
        let operation = "\(isPatch ? "patch" : "put") \(words.noun)"
        let edit = try edited(key, request, services, operation) { (document) throws(Problem) in
            isNew = !has(key, document, services)
            guard !isPatch || !isNew else { throw words.missing }
            guard isNew || request.header("if-none-match") != "*" else { throw Problem(.stale, words.taken) }
            old = row(key, document, services.settings.current, services)
            try write(&draft, key, over: old, isPatch: isPatch, to: &document, services)
        }
        let consequences = edit.isChanged ? consequences(edit, services) : []
        if let rehearsal = rehearsal(edit, consequences, services) { return rehearsal }
        guard let row = row(key, try shown(services).document, edit.after, services) else {
            throw Problem(.conflict, "the file was changed meanwhile; get it again")
        }
        if edit.isChanged { audit(operation, key, request, services, before: isNew ? nil : old, after: row) }
        let (secrets, location) = (secrets(draft), isNew ? location(key) : nil)
        var response = AdminResponse.json(
            .object(view(row, services).members + consequences + secrets),
            status: isNew ? 201 : 200,
            headers: [FileEdits.tag(edit.revision)] + (location.map { [HeaderField("Location", $0)] } ?? [])
        )
        response.holdsSecret = !secrets.isEmpty
        return response
    }

    /// `DELETE` of a row.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request, plans: hasPreviews)
        let key = try key(request)
        try allowChange(key, services)
        var old: Row?
        let operation = "delete \(words.noun)"
        let edit = try edited(key, request, services, operation) { (document) throws(Problem) in
            old = row(key, document, services.settings.current, services)
            guard try erase(key, from: &document, services) else { throw words.missing }
        }
        let consequences = consequences(edit, services)
        if let rehearsal = rehearsal(edit, consequences, services) { return rehearsal }
        audit(operation, key, request, services, before: old, after: nil)
        let headers = [FileEdits.tag(edit.revision)]
        guard let body = try removed(key, edit, consequences, services) else {
            return AdminResponse(204, headers: headers)
        }
        return .json(body, headers: headers)
    }

    /// The answer for an edit that was only tried; nil for one that was made.
    private static func rehearsal(
        _ edit: Edit,
        _ consequences: [JSON.Member],
        _ services: AdminServices
    ) -> AdminResponse? {
        guard edit.isRehearsal else { return nil }
        let planned = FileEdits.planned(edit, preview(edit, services), services)
        return FileEdits.rehearsal(edit, consequences + planned)
    }

    /// What a row is shown of, with what its answers say.
    private static func shown(
        _ services: AdminServices
    ) throws(Problem) -> (document: INIDocument?, headers: [HeaderField]) {
        if isBySection { return (nil, FileEdits.headers(of: file, services)) }
        return try FileEdits.shown(file, services)
    }

    private static func edited(
        _ key: Key,
        _ request: AdminRequest,
        _ services: AdminServices,
        _ operation: String,
        _ change: (inout INIDocument) throws(Problem) -> Void
    ) throws(Problem) -> Edit {
        let section = isBySection ? "\(key)" : nil
        return try FileEdits.edit(
            file,
            section: section,
            request,
            services,
            operation: operation,
            key: "\(key)",
            preview: { preview($0, services) },
            change
        )
    }

    private static func audit(
        _ operation: String,
        _ key: Key,
        _ request: AdminRequest,
        _ services: AdminServices,
        before: Row?,
        after: Row?
    ) {
        services.audit(
            request,
            Change(
                operation: operation,
                subject: "\(key)",
                before: before.map(logged) ?? "",
                after: after.map(logged) ?? ""
            )
        )
    }
}

extension AdminResponse {
    /// A list.
    ///
    /// - Parameters:
    ///   - next: where the next page begins; nil for the last one.
    ///   - total: how many there are; nil: those.
    static func listing(
        _ items: [JSON],
        next: String? = nil,
        total: Int? = nil,
        isExact: Bool = true,
        headers: [HeaderField] = []
    ) -> AdminResponse {
        .json(
            .object([
                JSON.Member("items", .array(items)), JSON.Member("next", .optional(next)),
                JSON.Member("total", .count(total ?? items.count)), JSON.Member("total_exact", .bool(isExact)),
            ]),
            headers: headers
        )
    }
}
