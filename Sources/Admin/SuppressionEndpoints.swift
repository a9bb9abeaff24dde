// SuppressionEndpoints.swift — `/v1/suppressions`: addresses and domains that get nothing.

import JSON
import Mail
import Suppression

/// The list.
enum SuppressionEndpoints {
    private static let mostAtOnce = 1000

    /// `GET /v1/suppressions?cursor&limit`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["cursor", "limit"])
        let list = try known(services)
        let limit = try request.number("limit", 1...mostAtOnce) ?? 100
        guard let place = [UInt8](hexadecimal: request.value("cursor") ?? ""), place.count <= 32 else {
            throw Problem.invalid("?cursor", "format", "is none of ours")
        }
        let page = try ask { () throws(SuppressionError) in try list.lines(behind: place, atMost: limit) }
        return .json([
            "items": .array(page.lines.map(view)), "next": .optional(page.next?.hexadecimal),
            "total": .count(list.total), "total_exact": false,
        ])
    }

    /// `GET /v1/suppressions/{target}?sender_domain`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        let (list, target, sender) = try asked(request, services)
        guard let line = try ask({ () throws(SuppressionError) in try list.line(target, sender: sender) }) else {
            throw Problem(.notFound, "\(target) is not on the list")
        }
        return .json(view(line))
    }

    /// `DELETE /v1/suppressions/{target}?sender_domain`.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        let (list, target, sender) = try asked(request, services)
        guard try ask({ () throws(SuppressionError) in try list.remove(target, sender: sender) }) else {
            throw Problem(.notFound, "\(target) is not on the list")
        }
        services.audit(request, Change(operation: "remove suppression", subject: target))
        return AdminResponse(204)
    }

    /// `POST /v1/suppressions`: `{items: [{target, sender_domain, reason, note, expires_at}]}`.
    static func add(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let list = try known(services)
        var body = try JSONObject(request.json(), at: "")
        let items = try body.array("items", atMost: mostAtOnce)
        try body.finish()
        guard let items, !items.isEmpty else { throw Problem.invalid("/items", "required", "is missing") }
        var lines: [Suppression] = []
        for (index, item) in items.enumerated() { lines.append(try line(item, "/items/\(index)")) }
        let added = try ask { () throws(SuppressionError) in try list.put(lines) }
        services.audit(request, Change(operation: "add suppressions", after: "\(lines.count)"))
        return .json(["added": .count(added), "replaced": .count(lines.count - added)])
    }

    private static func line(_ item: JSON, _ pointer: String) throws(Problem) -> Suppression {
        var object = try JSONObject(item, at: pointer)
        let (text, word) = (try object.string("target"), try object.string("reason"))
        let (sender, note) = (try object.string("sender_domain"), try object.string("note", atMost: 200))
        let until = try object.string("expires_at")
        try object.finish()
        guard let target = text.flatMap({ Suppression.target($0) }) else {
            throw Problem.invalid("\(pointer)/target", "format", "is neither an address nor a domain")
        }
        guard let reason = word.map({ Suppression.Reason(rawValue: $0) }) ?? .manual else {
            let all = Suppression.Reason.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem.invalid("\(pointer)/reason", "enum", "is none of \(all)")
        }
        let domain = sender.flatMap { Domain($0) }
        if sender != nil, domain == nil {
            throw Problem.invalid("\(pointer)/sender_domain", "format", "is no domain")
        }
        let expires = until.flatMap { Timestamp(rfc3339: $0) }
        if until != nil, expires == nil {
            throw Problem.invalid("\(pointer)/expires_at", "format", "is no time such as 2027-01-31T12:00:00Z")
        }
        return Suppression(target, sender: domain, reason: reason, note: note, created: .now(), expires: expires)
    }

    private static func asked(
        _ request: AdminRequest,
        _ services: AdminServices
    ) throws(Problem) -> (list: SuppressionList, target: String, sender: Domain?) {
        try request.allowQuery(["sender_domain"])
        guard let target = Suppression.target(request.parameter("target")) else {
            throw Problem(.notFound, "neither an address nor a domain")
        }
        var sender: Domain?
        if let text = request.value("sender_domain") {
            guard let domain = Domain(text) else {
                throw Problem.invalid("?sender_domain", "format", "is no domain")
            }
            sender = domain
        }
        return (try known(services), target, sender)
    }

    private static func known(_ services: AdminServices) throws(Problem) -> SuppressionList {
        guard let list = services.suppressions else {
            throw Problem(.unavailable, "the list cannot be opened; the log says why")
        }
        return list
    }

    private static func ask<Value>(_ body: () throws(SuppressionError) -> Value) throws(Problem) -> Value {
        do throws(SuppressionError) { return try body() } catch { throw Problem(.unavailable, "\(error)") }
    }

    private static func view(_ line: Suppression) -> JSON {
        [
            "target": .string(line.target),
            "sender_domain": .optional(line.sender?.name),
            "reason": .string(line.reason.rawValue),
            "source_event": .optional(line.source),
            "note": .optional(line.note),
            "created_at": .string(line.created.rfc3339),
            "expires_at": .optional(line.expires?.rfc3339),
        ]
    }
}
