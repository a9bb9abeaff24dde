// Delivery.swift — one request to a receiver, as people look at it afterwards.

package import JSON
package import Mail

/// What was sent, and what came of it.
package struct Delivery: Hashable, Sendable {
    package let at: Timestamp
    /// `webhook-id`.
    package let id: String
    package let first: UInt64
    package let last: UInt64
    package let events: Int
    /// From 1 on.
    package let attempt: Int
    package let milliseconds: Int64
    package let answer: WebhookAnswer
    package let step: WebhookStep
    /// The beginning of what the receiver wrote, or why there is no answer: printable, and without a secret.
    package let words: String

    /// As the API shows it.
    package var json: JSON {
        var json: JSON = [
            "at": .string(at.rfc3339), "id": .string(id), "first_seq": .count(first), "last_seq": .count(last),
            "events": .count(events), "attempt": .count(attempt), "duration_ms": .integer(milliseconds),
        ]
        switch answer {
        case .status(let status, _): json["status"] = .count(status)
        case .silence(let silence): json["error"] = .string(silence.rawValue)
        }
        json["result"] = .string(result)
        json["text"] = .string(words)
        return json
    }

    /// In one word.
    package var result: String {
        switch step {
        case .taken: "taken"
        case .dropped: "dropped"
        case .divided: "divided"
        case .waits: "failed"
        case .disabled: "disabled"
        }
    }
}
