// SubmitEndpoint.swift — `POST /v1/messages`: the source document's `send_email()`; 202 only when the message is on disk.

import Config
import JSON
package import Mail
import MessageFormat
import NIOCore
import Queue
import Storage

/// Why a message was not taken, as SMTP would say it.
package struct SubmitRefusal: Error, Hashable, Sendable {
    package let reply: Reply
    /// It is too much for a limit, or of a token that is parked.
    package let isLimit: Bool
    /// When it is worth trying again, where that is known.
    package let waits: Timestamp?

    package init(_ reply: Reply, isLimit: Bool = false, waits: Timestamp? = nil) {
        (self.reply, self.isLimit, self.waits) = (reply, isLimit, waits)
    }
}

/// Submission.
enum SubmitEndpoint {
    /// `POST /v1/messages`.
    static func submit(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        let (settings, local) = (services.settings.current.listener, services.settings.current.local)
        let here = local.isOn ? local.me : nil
        guard !request.content.isEmpty else {
            throw Problem(.malformed, "the body is the message, as message/rfc822 or JSON")
        }
        let isRaw = request.mediaType == "message/rfc822"
        let message =
            isRaw
            ? try SubmittedMessage(raw: request, limit: settings.recipients, here: here)
            : try SubmittedMessage(
                json: request,
                limit: settings.recipients,
                largest: settings.messageBytes,
                here: here
            )
        let ids = try accept(message, request, services)
        let id = ids.first?.description ?? ""
        return .json(
            [
                "id": .string(id),
                "ids": .strings(ids.map(\.description)),
                "recipients": .count(message.envelope.recipients.count),
                "size_bytes": .count(message.content.readableBytes),
            ],
            status: 202,
            headers: [HeaderField("Location", "/v1/queue/\(id)")]
        )
    }

    /// Queues a message; done when it is on disk.
    ///
    /// - Returns: what it became.
    /// - Throws: what reception refuses it with.
    static func accept(
        _ message: SubmittedMessage,
        _ request: AdminRequest,
        _ services: AdminServices
    ) throws(Problem) -> [QueueID] {
        let largest = services.settings.current.listener.messageBytes
        guard message.content.readableBytes <= largest else { throw AdminDesk.tooLarge(largest) }
        guard services.queue.hasRoom(for: message.content.readableBytes) else {
            throw Problem(
                .unavailable,
                "there is no room for mail now; try again later, the queue may have to be delivered or the disk to be cleared first",
                headers: [HeaderField("Retry-After", "60")]
            )
        }
        let submit = services.submit
        let (envelope, content, time) = (message.envelope, message.content, message.sendAt)
        let (caller, prepared) = (request.caller, request.message)
        if case .accepted(let id)? = prepared { return [id] }
        let result = try services.wait { await submit(envelope, content, time, prepared?.id, caller) }
        switch result {
        case .success(let ids): return ids
        case .failure(let refusal): throw problem(refusal)
        }
    }

    private static func problem(_ refusal: SubmitRefusal) -> Problem {
        let reply = refusal.reply
        let member = JSON.Member("reply", .string("\(reply)"))
        if reply.severity != .permanent, refusal.isLimit {
            let seconds = refusal.waits.map { max(1, ($0.milliseconds(since: .now()) + 999) / 1000) } ?? 300
            let headers = [HeaderField("Retry-After", "\(seconds)")]
            return Problem(.tooMany, "not taken for now: \(reply)", headers: headers, members: [member])
        }
        guard reply.severity == .permanent else {
            return Problem(
                .unavailable,
                "not taken for now: \(reply)",
                headers: [HeaderField("Retry-After", "30")],
                members: [member]
            )
        }
        return Problem(.forbidden, "refused: \(reply)", members: [member])
    }
}
