// MessageEndpoints.swift — one message of the queue: look at it, get its bytes, retry, hold, release, remove it.

import JSON
import Mail
import Queue
import Storage

/// Operations on one message.
enum MessageEndpoints {
    /// Bytes read at once when content is sent.
    private static let piece = 64 << 10

    /// `GET /v1/queue/{id}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let id = try id(request)
        let report: MessageReport?
        do throws(QueueError) {
            report = try services.queue.show(id)
        } catch {
            throw Self.problem(error)
        }
        guard let report else { throw gone(id, services) }
        return .json(QueueView.report(report, at: services.cluster?.name))
    }

    /// `GET /v1/queue/{id}/content`.
    static func content(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let id = try id(request)
        let content: Content?
        do throws(QueueError) {
            content = try services.queue.content(of: id)
        } catch {
            throw Self.problem(error)
        }
        guard let content else { throw notFound }
        let name = HeaderField("Content-Disposition", "attachment; filename=\"\(id).eml\"")
        return .stream("message/rfc822", size: content.size, headers: [name]) {
            var offset = 0
            return {
                let bytes = (try? content.read(at: offset, count: piece)) ?? []
                offset += bytes.count
                return bytes.isEmpty ? nil : bytes
            }
        }
    }

    /// `POST /v1/queue/{id}/retry`.
    static func retry(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try request.object().finish()
        let id = try id(request)
        return try answer(request, services, id, services.queue.retry(id), "retryMessage", status: 202)
    }

    /// `POST /v1/queue/{id}/hold`.
    static func hold(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        var body = try request.object()
        let reason = try body.string("reason", atMost: 200) ?? ""
        let until = try RequestTime.upcoming(try body.string("until"), "/until")
        try body.finish()
        let id = try id(request)
        let result: CommandResult?
        do throws(QueueError) {
            result = try services.queue.hold([id], reason: reason, until: until).first
        } catch {
            throw Self.problem(error)
        }
        return try answer(request, services, id, result ?? .notFound, "holdMessage")
    }

    /// `POST /v1/queue/{id}/release`.
    static func release(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try request.object().finish()
        let id = try id(request)
        let result: CommandResult?
        do throws(QueueError) {
            result = try services.queue.release([id]).first
        } catch {
            throw Self.problem(error)
        }
        return try answer(request, services, id, result ?? .notFound, "releaseMessage")
    }

    /// `POST /v1/queue/{id}/revive`.
    static func revive(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try request.object().finish()
        let id = try id(request)
        let result: CommandResult?
        do throws(QueueError) {
            result = try services.queue.revive([id]).first
        } catch {
            throw Self.problem(error)
        }
        return try answer(request, services, id, result ?? .notFound, "reviveMessage")
    }

    /// `DELETE /v1/queue/{id}?dsn=none|send&reason=…`.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["dsn", "reason"])
        let withReport = try Self.withReport(request.value("dsn"), at: "?dsn")
        let reason = request.value("reason") ?? "removed by the administrator"
        let id = try id(request)
        let queue = services.queue
        let (result, end) = try services.wait {
            guard withReport else {
                return (await queue.remove(id, withReport: false, reason: reason), Timestamp?.none)
            }
            return await queue.bounce(id, reason: reason)
        }
        _ = try answer(request, services, id, result, "removeMessage")
        guard let end else { return AdminResponse(204) }
        return .json(["id": .string("\(id)"), "state": "dying", "bounces_at": QueueView.time(end)], status: 202)
    }

    /// `none` or `send`.
    static func withReport(_ text: String?, at pointer: String) throws(Problem) -> Bool {
        switch text {
        case nil, "none": false
        case "send": true
        default: throw Problem.invalid(pointer, "enum", "is neither none nor send")
        }
    }

    /// What storage could not do.
    static func problem(_ error: QueueError) -> Problem {
        switch error {
        case .closing: .stopping
        case .full:
            Problem(
                .unavailable,
                "there is no space on disk; make room there, and try again",
                headers: [HeaderField("Retry-After", "60")]
            )
        case .damaged:
            Problem(
                .gone,
                "the message cannot be read; what is left of it was set aside in queue/corrupt: see martlet spool check"
            )
        case .broken, .locked:
            Problem(.internalError, "the disk failed; the log says how: mend it, and start the relay again")
        }
    }

    private static let notFound = Problem(
        .notFound,
        "no such message in the queue; it may have been delivered: GET /v1/messages/{id} tells what became of it"
    )

    /// A message that has left, and who of its recipients failed, where that is known.
    private static func gone(_ id: QueueID, _ services: AdminServices) -> Problem {
        let failures = services.queue.recentFailures.failures(of: id)
        guard !failures.isEmpty else { return notFound }
        let list: [JSON] = failures.map {
            ["recipient": .string($0.recipient), "reply": .string($0.reply), "at": QueueView.time($0.at)]
        }
        return Problem(
            .notFound,
            "no such message in the queue any more; it failed for \(failures.count) of its recipients",
            members: [JSON.Member("failures", .array(list))]
        )
    }

    static func id(_ request: AdminRequest) throws(Problem) -> QueueID {
        guard let id = QueueID(request.parameter("id")) else { throw notFound }
        return id
    }

    private static func answer(
        _ request: AdminRequest,
        _ services: AdminServices,
        _ id: QueueID,
        _ result: CommandResult,
        _ operation: String,
        status: Int = 200
    ) throws(Problem) -> AdminResponse {
        switch result {
        case .done, .unchanged:
            if result == .done { services.audit(request, Change(operation: operation, subject: "\(id)")) }
            return .json(["id": .string("\(id)"), "changed": .bool(result == .done)], status: status)
        case .notFound: throw notFound
        case .inFlight: throw Problem(.conflict, "a session has the message right now; try again in a moment")
        case .held: throw Problem(.conflict, "the message is held; release it first")
        case .dying: throw Problem(.conflict, "the message is to bounce; revive it first")
        case .failed(let reason): throw Problem(.internalError, reason)
        }
    }
}
