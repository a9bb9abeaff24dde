// ActionEndpoints.swift — bulk actions by filter: look first (`dry_run`), then do exactly that (`plan`), and follow the job.

import Glibc
import JSON
import Mail
import Queue
import Storage

/// Operations on everything that a filter finds.
enum ActionEndpoints {
    /// `POST /v1/queue/actions`.
    static func act(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        var body = try request.object()
        let plan = try body.string("plan")
        let name = try body.string("action")
        let filter = try body.object("filter")
        let all = try body.bool("all") ?? false
        let isDry = try body.bool("dry_run") ?? false
        let reason = try body.string("reason", atMost: 200)
        let dsn = try body.string("dsn")
        let until = try RequestTime.upcoming(try body.string("until"), "/until")
        try body.finish()
        if let plan {
            guard name == nil, filter == nil, !all, !isDry, reason == nil, dsn == nil, until == nil else {
                throw Problem.invalid("/plan", "exclusive", "a plan says everything; send it alone")
            }
            return try start(plan, request, services)
        }
        let action = try action(name, reason, dsn, until)
        let wanted = try filter.map { object throws(Problem) in try QueueFilterReader.read(object) } ?? QueueFilter()
        guard all || !wanted.isEmpty else {
            throw Problem.invalid(
                "/filter",
                "empty",
                "an empty filter means every message; say \"all\": true if you do"
            )
        }
        guard !all || wanted.isEmpty else {
            throw Problem.invalid("/all", "exclusive", "all and a filter contradict each other")
        }
        let made = services.bulk.plan(action, wanted)
        guard isDry else { return try start(made.token, request, services) }
        return .json([
            "action": .string(made.action.name),
            "matched": .count(made.matched),
            "bytes": .count(made.bytes),
            "sample": .array(made.sample.map { QueueView.row($0, at: services.cluster?.name) }),
            "plan": .string(made.token),
        ])
    }

    private static func action(
        _ name: String?,
        _ reason: String?,
        _ dsn: String?,
        _ until: Timestamp?
    ) throws(Problem) -> BulkAction {
        if dsn != nil, name != "remove" { throw Problem.invalid("/dsn", "exclusive", "only removal has reports") }
        if until != nil, name != "hold" { throw Problem.invalid("/until", "exclusive", "only a hold has an end") }
        switch name {
        case "retry": return .retry
        case "hold": return .hold(reason: reason ?? "", until: until)
        case "release": return .release
        case "revive": return .revive
        case "remove":
            return .remove(
                withReport: try MessageEndpoints.withReport(dsn, at: "/dsn"),
                reason: reason ?? "removed by the administrator"
            )
        case nil: throw Problem.invalid("/action", "required", "is missing: retry, hold, release, revive or remove")
        case _?: throw Problem.invalid("/action", "enum", "is none of retry, hold, release, revive, remove")
        }
    }

    private static func start(
        _ plan: String,
        _ request: AdminRequest,
        _ services: AdminServices
    ) throws(Problem) -> AdminResponse {
        guard let job = services.bulk.start(plan) else {
            throw Problem(.gone, "the plan is unknown, used, or older than ten minutes; make a new one with dry_run")
        }
        services.audit(
            request,
            Change(operation: "actOnQueue", subject: "\(job.action.name) \(job.id)", after: "\(job.matched)")
        )
        return started(job)
    }

    private static func started(_ job: BulkJob) -> AdminResponse {
        .json(QueueView.job(job), status: 202, headers: [HeaderField("Location", "/v1/jobs/\(job.id)")])
    }

    /// `GET /v1/jobs`.
    static func jobs(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        return .listing(services.bulk.jobs.map(QueueView.job))
    }

    /// `GET /v1/jobs/{id}`.
    static func job(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["wait_s"])
        let until = Uptime.now().adding(milliseconds: Int64(try request.number("wait_s", 0...30) ?? 0) * 1000)
        guard var job = services.bulk.job(request.parameter("id")) else { throw noJob }
        // A look twenty times a second costs less than a way to be told.
        while job.state == .running, Uptime.now() < until {
            usleep(50_000)
            guard let now = services.bulk.job(job.id) else { throw noJob }
            job = now
        }
        return .json(QueueView.job(job))
    }

    /// `DELETE /v1/jobs/{id}`: what is done stays done.
    static func cancel(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let id = request.parameter("id")
        guard services.bulk.job(id) != nil else { throw noJob }
        guard services.bulk.cancel(id) else {
            throw Problem(.conflict, "the job is over: there is nothing to stop; GET /v1/jobs/{id} says what it did")
        }
        services.audit(request, Change(operation: "cancelJob", subject: id))
        return AdminResponse(204)
    }

    /// `POST /v1/jobs/{id}/undo`: exactly what a hold held, or was to bounce, goes on, by a job of its own.
    static func undo(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let id = request.parameter("id")
        guard services.bulk.job(id) != nil else { throw noJob }
        guard let job = services.bulk.undo(id) else {
            throw Problem(
                .conflict,
                "there is nothing to take back: only a hold, or a bounce that waits, can be, once, until the next start"
            )
        }
        services.audit(request, Change(operation: "undoJob", subject: id, after: "\(job.id) \(job.matched)"))
        return started(job)
    }

    private static let noJob = Problem(.notFound, "no such job; the last hundred are kept, and GET /v1/jobs shows them")
}
