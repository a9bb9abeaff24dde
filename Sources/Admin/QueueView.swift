// QueueView.swift — how the queue looks in JSON: one message in a list, one in full, a job.

import JSON
import Mail
import Queue
import Storage

/// Queue values as JSON; the names are those of `openapi.yaml`.
enum QueueView {
    /// A message in a listing.
    ///
    /// - Parameter node: the relay that has it; nil: the queue is this one's alone.
    static func row(_ row: QueueRow, at node: String?) -> JSON {
        .object(members(row, node))
    }

    /// Everything known of a message.
    static func report(_ report: MessageReport, at node: String?) -> JSON {
        let envelope = report.envelope
        let recipients: [JSON] = report.recipients.map { recipient in
            [
                "address": .string("\(recipient.recipient.address)"),
                "state": .string(recipient.state.name),
                "route": .optional(recipient.lane.map(name)),
                "attempts": .count(recipient.attempts),
                "next_attempt_at": time(recipient.nextAttempt),
                "last_attempt_at": time(recipient.lastAttempt),
                "last_reply": reply(recipient.reply),
            ]
        }
        let waiting: [JSON] = report.waitingBecause.map { reason in
            [
                "code": .string(reason.code.rawValue),
                "route": .optional(reason.lane.map(name)),
                "until": time(reason.until),
                "text": .string(reason.text),
                "ends": .string(reason.ends),
                "rule": .string(reason.rule),
                "origin": .string(reason.origin),
                "since": time(reason.since),
            ]
        }
        var all = members(report.row, node).filter { $0.name != "recipients" }
        all.append(JSON.Member("envelope_id", .optional(envelope.envelopeID)))
        all.append(JSON.Member("is_eight_bit", .bool(envelope.isEightBit)))
        all.append(JSON.Member("needs_utf8", .bool(envelope.needsUTF8)))
        all.append(JSON.Member("recipients", .array(recipients)))
        all.append(JSON.Member("waiting_because", .array(waiting)))
        all.append(JSON.Member("estimated_send_at", time(report.estimatedSend)))
        return .object(all)
    }

    /// How far a bulk action has come.
    static func job(_ job: BulkJob) -> JSON {
        [
            "id": .string(job.id),
            "action": .string(job.action.name),
            "state": .string(job.state.rawValue),
            "matched": .count(job.matched),
            "done": .count(job.done),
            "skipped": .count(job.skipped),
            "failed": .count(job.failed),
            "problem": .optional(job.problem),
            "undoable": .bool(job.isUndoable),
            "started_at": time(job.startedAt),
            "finished_at": time(job.finishedAt),
        ]
    }

    /// A time, or null.
    static func time(_ time: Timestamp?) -> JSON { .optional(time?.rfc3339) }

    /// The name of a next hop, as filters take it.
    static func name(_ lane: Lane) -> String { lane.name }

    private static func members(_ row: QueueRow, _ node: String?) -> [JSON.Member] {
        [
            JSON.Member("id", .string("\(row.id)")),
            JSON.Member("state", .string(row.state.name)),
            JSON.Member("sender", .string("\(row.sender)")),
            JSON.Member("recipients", .strings(row.recipients.map { "\($0)" })),
            JSON.Member("recipient_count", .count(row.recipientCount)),
            JSON.Member("size_bytes", .count(row.size)),
            JSON.Member("queued_at", time(row.acceptedAt)),
            JSON.Member("attempts", .count(row.attempts)),
            JSON.Member("next_attempt_at", time(row.nextAttempt)),
            JSON.Member("last_attempt_at", time(row.lastAttempt)),
            JSON.Member("routes", .strings(row.lanes.map(name))),
            JSON.Member("last_reply", reply(row.reply)),
            JSON.Member("held", held(row.hold)),
            JSON.Member("node", .optional(node)),
        ]
    }

    private static func reply(_ reply: LastReply?) -> JSON {
        guard let reply else { return .null }
        return [
            "text": .string(reply.text), "reason": .string(reply.reason.name),
            "host": reply.host.isEmpty ? .null : .string(reply.host),
        ]
    }

    private static func held(_ hold: Hold?) -> JSON {
        guard let hold else { return .null }
        return ["since": time(hold.since), "until": time(hold.until), "reason": .string(hold.reason)]
    }
}
