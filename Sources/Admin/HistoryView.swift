// HistoryView.swift — how history looks in JSON: a message and what became of its recipients.

import History
import JSON
import Mail

enum HistoryView {
    /// A message of history; the names are those of `openapi.yaml`.
    static func members(_ story: MessageStory) -> [JSON.Member] {
        let context = story.context
        return [
            JSON.Member("id", .string("\(context.id)")),
            JSON.Member("accepted_at", .string(context.acceptedAt.rfc3339)),
            JSON.Member("finished_at", .optional(story.finishedAt?.rfc3339)),
            JSON.Member("sender", .string(context.sender)),
            JSON.Member("recipient_count", .count(context.recipientCount)),
            JSON.Member("header_message_id", .optional(context.headerMessageID)),
            JSON.Member("tag", .optional(context.tag)),
            JSON.Member("user", .optional(context.user)),
            JSON.Member("size_bytes", .count(context.size)),
            JSON.Member("recipients", .array(story.fates.map(fate))),
        ]
    }

    private static func fate(_ fate: MessageStory.Fate) -> JSON {
        let data = fate.last?.data
        return [
            "address": .string(fate.address),
            "status": .string(fate.status.rawValue),
            "attempts": .count(fate.attempts),
            "at": .optional(fate.last?.time.rfc3339),
            "route": .optional(data?.route),
            "host": .optional(data?.mx?.host),
            "reply": .optional(
                data?.smtp.map { words in
                    (["\(words.code)"] + (words.enhanced.map { ["\($0)"] } ?? []) + [words.text]).joined(separator: " ")
                }
            ),
            "reason": .optional(data?.reason?.name),
            "next_attempt_at": .optional(data?.nextAttempt?.rfc3339),
        ]
    }
}
