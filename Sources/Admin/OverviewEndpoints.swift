// OverviewEndpoints.swift — `/v1/stats/waiting` and `/v1/stats/day`: what waits, and the last day, for the page and for
// `martlet top` and `qshape`. Their cost does not depend on who asks or how often (`Overview`).

import JSON
import Mail
import Queue
import Storage

/// The queue seen as a whole.
enum OverviewEndpoints {
    /// `GET /v1/stats/waiting`.
    static func waiting(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["top"])
        let top = try request.number("top", 0...WaitingPicture.mostRoutes) ?? WaitingPicture.mostRoutes
        let picture = services.overview.current()
        let rows = picture.rows.prefix(top)
        let hidden = picture.rows.dropFirst(top)
        let routes: [JSON] = rows.map { row in
            [
                "route": .string(row.route), "parcels": .count(row.parcels),
                "ages": .array(row.ages.map { .count($0) }),
            ]
        }
        return tagged([
            "as_of": .string(picture.madeAt.rfc3339),
            "age_bounds_s": .array(QueueSurvey.ageBounds.map { .integer($0) }),
            "oldest_at": QueueView.time(picture.oldest),
            "routes": .array(routes),
            "other_routes": .count(picture.otherRoutes + hidden.count),
            "other_parcels": .count(picture.otherParcels + hidden.reduce(0) { $0 + $1.parcels }),
            "problems": .array(services.overview.causes(of: picture).map(problem)),
            "other_problems": .count(picture.otherCauses),
        ])
    }

    private static func problem(_ known: Overview.Known) -> JSON {
        let cause = known.cause
        return [
            "route": .string(cause.route),
            "reason": .string(cause.reply.reason.name),
            "reply": .string(cause.reply.text),
            "host": cause.reply.host.isEmpty ? .null : .string(cause.reply.host),
            "parcels": .count(cause.parcels),
            "parcels_before": .count(known.before),
            "seen_since": .string(known.since.rfc3339),
            "oldest_at": .string(cause.oldest.rfc3339),
            "last_attempt_at": cause.attemptedAt == 0
                ? .null : .string(Timestamp(milliseconds: Int64(cause.attemptedAt) * 1000).rfc3339),
            "example": .string("\(cause.example)"),
        ]
    }

    /// `GET /v1/stats/day?step_s=N`.
    static func day(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["step_s"])
        let step = try request.number("step_s", 60...3600) ?? 60
        let minutes = max(1, step / 60)
        let samples = services.overview.samples()
        // Steps begin at the same minutes whenever somebody asks, so that what is over stays as it is.
        var steps: [Overview.Sample] = []
        for sample in samples {
            let start = sample.at.milliseconds / (Int64(minutes) * Overview.minute)
            guard let last = steps.last, last.at.milliseconds / (Int64(minutes) * Overview.minute) == start else {
                steps.append(sample)
                continue
            }
            steps[steps.count - 1] = joined(last, sample)
        }
        return tagged([
            "step_s": .count(minutes * 60),
            "samples": .array(
                steps.map { one in
                    [
                        "at": .string(one.at.rfc3339), "messages": .count(one.messages),
                        "oldest_age_s": .integer(one.oldest), "accepted": .count(one.accepted),
                        "delivered": .count(one.delivered), "deferred": .count(one.deferred),
                        "bounced": .count(one.bounced),
                    ]
                }
            ),
        ])
    }

    private static func joined(_ a: Overview.Sample, _ b: Overview.Sample) -> Overview.Sample {
        Overview.Sample(
            at: b.at,
            messages: b.messages,
            oldest: max(a.oldest, b.oldest),
            accepted: a.accepted + b.accepted,
            delivered: a.delivered + b.delivered,
            deferred: a.deferred + b.deferred,
            bounced: a.bounced + b.bounced
        )
    }

    private static func tagged(_ value: JSON) -> AdminResponse {
        let bytes = value.bytes
        let headers = [HeaderField("ETag", EntityTags.of(bytes)), HeaderField("Cache-Control", "max-age=1")]
        return .bytes(bytes, "application/json", headers: headers)
    }
}
