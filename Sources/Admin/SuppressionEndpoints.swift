// SuppressionEndpoints.swift — `/v1/suppressions`: addresses and domains that get nothing, as JSON and as CSV.
//
// The list is a store and no file: it has millions of lines, bounces write it too, and a line has no neighbours that an edit could
// spoil. So it is no `ConfigTable`; it has the same lists, rehearsals and refusals, and an entity tag for each line.
//
// Guarantees: lines that come together are taken together or not at all; a list as CSV that could not be read to its end
// does not end as a whole one does.

import JSON
import Mail
import Suppression

/// The list.
enum SuppressionEndpoints {
    private static let mostAtOnce = 1000
    private static let mostOfTable = 10_000
    /// Lines that a rehearsal shows.
    private static let mostShown = 100

    /// `GET /v1/suppressions?cursor&limit`; as CSV the whole list, or with a limit a page.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["cursor", "limit"])
        let list = try known(services)
        let limit = try request.number("limit", 1...mostAtOnce)
        guard let place = [UInt8](hexadecimal: request.value("cursor") ?? ""), place.count <= 32 else {
            throw Problem.invalid("?cursor", "format", "is none of ours; begin without one")
        }
        let isTable = request.prefers(CSV.type, to: "application/json")
        if isTable, limit == nil { return .stream(tableType) { pieces(of: list, behind: place) } }
        let page = try ask { () throws(SuppressionError) in try list.lines(behind: place, atMost: limit ?? 100) }
        let next = page.next?.hexadecimal
        guard !isTable else {
            let more = next.map { "<\(request.path)?limit=\(limit ?? 100)&cursor=\($0)>; rel=\"next\"" }
            return .bytes(
                SuppressionTable.header + page.lines.flatMap(\.csv),
                tableType,
                headers: more.map { [HeaderField("Link", $0)] } ?? []
            )
        }
        return .listing(page.lines.map(view), next: next, total: list.total, isExact: false)
    }

    private static let tableType = "\(CSV.type); charset=utf-8"

    /// The list in pieces, its header first.
    private static func pieces(of list: SuppressionList, behind place: [UInt8]) -> AdminStream.Next {
        var (place, isBegun) = ([UInt8]?.some(place), false)
        return { () throws(AdminStream.Break) in
            guard isBegun else {
                isBegun = true
                return SuppressionTable.header
            }
            guard let from = place else { return nil }
            do throws(SuppressionError) {
                let page = try list.lines(behind: from, atMost: mostAtOnce)
                place = page.next
                return page.lines.isEmpty ? nil : page.lines.flatMap(\.csv)
            } catch {
                throw AdminStream.Break()
            }
        }
    }

    /// `GET /v1/suppressions/{target}?sender_domain&tag`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["sender_domain", "tag"])
        let (_, line) = try asked(request, services)
        return .json(view(line), headers: [tag(line)])
    }

    /// `DELETE /v1/suppressions/{target}?sender_domain&tag&dry_run`.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["sender_domain", "tag", FileEdits.dryRun])
        let isRehearsal = try FileEdits.isDryRun(request)
        let (list, line) = try asked(request, services)
        let wanted = request.header("if-match")
        if let wanted, try !EntityTags.isNamed(tag(line).value, by: wanted) { throw stale }
        if isRehearsal { return FileEdits.rehearsal(isChanged: true, diff: diff([(line, nil)]), headers: [tag(line)]) }
        let isGone = try ask { () throws(SuppressionError) in
            try list.remove(line.target, line.scope, expecting: wanted == nil ? nil : line)
        }
        guard isGone else { throw wanted == nil ? missing(line.target) : stale }
        services.audit(request, Change(operation: "remove suppression", subject: line.target))
        return AdminResponse(204)
    }

    /// `POST /v1/suppressions?dry_run`: `{items: [{target, sender_domain, tag, reason, note, expires_at}]}`, or a table.
    static func add(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let isRehearsal = try FileEdits.isDryRun(request)
        let list = try known(services)
        let lines = request.mediaType == CSV.type ? try table(request) : try items(request)
        if isRehearsal {
            let old = try ask { () throws(SuppressionError) in try list.standing(inPlaceOf: lines) }
            let changes = zip(old, lines).filter { old, new in old.map { !$0.saysSame(as: new) } ?? true }
            return FileEdits.rehearsal(
                isChanged: !changes.isEmpty,
                diff: diff(changes.map { ($0, $1) }),
                figures(old.count { $0 == nil }, of: lines.count)
            )
        }
        let added = try ask { () throws(SuppressionError) in try list.put(lines) }
        services.audit(request, Change(operation: "add suppressions", after: "\(lines.count)"))
        return .json(.object(figures(added, of: lines.count)))
    }

    private static func figures(_ added: Int, of all: Int) -> [JSON.Member] {
        [JSON.Member("added", .count(added)), JSON.Member("replaced", .count(all - added))]
    }

    // MARK: - What is handed in

    private static func items(_ request: AdminRequest) throws(Problem) -> [Suppression] {
        var body = try JSONObject(request.json(), at: "")
        let items = try body.array("items", atMost: mostAtOnce)
        try body.finish()
        guard let items, !items.isEmpty else { throw Problem.invalid("/items", "required", "is missing") }
        var lines: [Suppression] = []
        for (index, item) in items.enumerated() { lines.append(try line(item, "/items/\(index)")) }
        return lines
    }

    /// A table: with the names of its columns in the first line, or with those of ``SuppressionTable/unnamed``.
    private static func table(_ request: AdminRequest) throws(Problem) -> [Suppression] {
        let (octets, release) = request.content.take()
        defer { release() }
        // Cells are texts of their own; the smallest are sixteen times as large as what they hold.
        try request.reserve(32 * octets.count)
        var records: [CSV.Record]
        do throws(CSV.Fault) { records = try CSV.records(in: octets, atMost: mostOfTable) } catch {
            throw Problem.invalid("/lines/\(error.line)", "format", error.description)
        }
        var columns = SuppressionTable.unnamed
        if let first = records.first, let names = SuppressionTable.columns(named: first.cells) {
            columns = names
            records.removeFirst()
        }
        guard !records.isEmpty else { throw Problem.invalid("", "required", "holds no line: there is nothing to add") }
        var lines: [Suppression] = []
        for record in records {
            let pointer = "/lines/\(record.line)"
            guard let fields = SuppressionTable.fields(record.cells, columns: columns) else {
                throw Problem.invalid(
                    pointer,
                    "length",
                    "has more cells than columns; a comma in a note needs quotes around the note"
                )
            }
            lines.append(try line(.object(of: fields.map { ($0.name, .string($0.text)) }), pointer))
        }
        return lines
    }

    private static func line(_ item: JSON, _ pointer: String) throws(Problem) -> Suppression {
        var object = try JSONObject(item, at: pointer)
        let (text, word) = (try object.string("target"), try object.string("reason"))
        let (sender, note) = (try object.string("sender_domain"), try object.string("note", atMost: 200))
        let tag = try object.string("tag")
        let until = try object.string("expires_at")
        try object.finish()
        guard let target = text.flatMap({ Suppression.target($0) }) else {
            throw Problem.invalid("\(pointer)/target", "format", "is neither an address nor a domain")
        }
        guard let reason = word.map({ Suppression.Reason(rawValue: $0) }) ?? .manual else {
            let all = Suppression.Reason.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem.invalid("\(pointer)/reason", "enum", "is none of \(all)")
        }
        let scope = try scope(sender, tag) { "\(pointer)/\($0)" }
        let expires = until.flatMap { Timestamp(rfc3339: $0) }
        if until != nil, expires == nil {
            throw Problem.invalid("\(pointer)/expires_at", "format", "is no time such as 2027-01-31T12:00:00Z")
        }
        return Suppression(target, scope, reason: reason, note: note, created: .now(), expires: expires)
    }

    // MARK: - Parts

    /// The line that is meant, which is there.
    private static func asked(
        _ request: AdminRequest,
        _ services: AdminServices
    ) throws(Problem) -> (list: SuppressionList, line: Suppression) {
        guard let target = Suppression.target(request.parameter("target")) else {
            throw Problem(.notFound, "neither an address nor a domain; ask for one such as ann@example.com")
        }
        let scope = try scope(request.value("sender_domain"), request.value("tag")) { "?\($0)" }
        let list = try known(services)
        guard let line = try ask({ () throws(SuppressionError) in try list.line(target, scope) }) else {
            throw missing(target)
        }
        return (list, line)
    }

    /// Whose mail a line is about.
    ///
    /// - Parameter pointer: what a problem with a member points at.
    private static func scope(
        _ sender: String?,
        _ tag: String?,
        _ pointer: (String) -> String
    ) throws(Problem) -> Suppression.Scope {
        if sender != nil, tag != nil {
            let why = "a line is about the mail of one sender's domain or of one tag; make two lines"
            throw Problem.invalid(pointer("tag"), "exclusive", why)
        }
        if let tag {
            guard let scope = Suppression.Scope(tag: tag) else {
                throw Problem.invalid(pointer("tag"), "format", "is no tag of 1 to 200 printable octets")
            }
            return scope
        }
        guard let sender else { return .everybody }
        guard let domain = Domain(sender) else {
            throw Problem.invalid(pointer("sender_domain"), "format", "is no domain")
        }
        return .sender(domain)
    }

    private static func missing(_ target: String) -> Problem {
        Problem(
            .notFound,
            "\(target) is not on the list; GET /v1/suppressions shows who is, and a line for one sender's mail alone needs ?sender_domain, one for a tag ?tag"
        )
    }

    private static let stale = Problem(.stale, "the line was changed meanwhile; get it again")

    /// What would be otherwise, as lines of the table.
    private static func diff(_ changes: [(old: Suppression?, new: Suppression?)]) -> String {
        var text: [UInt8] = []
        for (old, new) in changes.prefix(mostShown) {
            if let old { text += [UInt8(ascii: "-")] + old.csv }
            if let new { text += [UInt8(ascii: "+")] + new.csv }
        }
        let more = changes.count - mostShown
        return String(decoding: text, as: UTF8.self) + (more > 0 ? "and \(more) more\n" : "")
    }

    private static func tag(_ line: Suppression) -> HeaderField {
        HeaderField("ETag", EntityTags.of(line.csv + Array((line.source ?? "").utf8)))
    }

    private static func known(_ services: AdminServices) throws(Problem) -> SuppressionList {
        guard let list = services.suppressions else {
            throw Problem(
                .unavailable,
                "the list cannot be opened; the log says why: mend suppressions.db in the data directory or move it away, and start the relay again"
            )
        }
        return list
    }

    private static func ask<Value>(_ body: () throws(SuppressionError) -> Value) throws(Problem) -> Value {
        do throws(SuppressionError) { return try body() } catch {
            throw Problem(
                .unavailable,
                "\(error); nothing was changed: see that the disk of the data directory has room and works, and try again"
            )
        }
    }

    private static func view(_ line: Suppression) -> JSON {
        [
            "target": .string(line.target),
            "sender_domain": .optional(line.scope.sender?.name),
            "tag": .optional(line.scope.tag),
            "reason": .string(line.reason.rawValue),
            "source_event": .optional(line.source),
            "note": .optional(line.note),
            "created_at": .string(line.created.rfc3339),
            "expires_at": .optional(line.expires?.rfc3339),
        ]
    }
}

extension Suppression {
    /// But for when they came.
    fileprivate func saysSame(as other: Suppression) -> Bool {
        var other = other
        other.created = created
        other.source = source
        return self == other
    }
}
