// EventSchema.swift — the form of an event as a JSON Schema (2020-12), made of the lists that events are made of.

package import JSON
import Mail

/// What `GET /v1/events/schema` serves.
package enum EventSchema {
    /// The schema.
    package static var json: JSON {
        [
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Martlet event",
            "type": "object",
            "required": ["id", "seq", "type", "time", "node", "data"],
            "additionalProperties": false,
            "properties": [
                "id": ["type": "string", "pattern": "^evt_[0-9a-z]+_[0-9]+$"],
                "seq": ["type": "integer", "minimum": 1],
                "type": ["type": "string", "enum": .strings(EventType.allCases.map(\.name))],
                "time": time,
                "node": text,
                "data": ["type": "object", "additionalProperties": false, "properties": .object(data)],
            ],
        ]
    }

    private static let text: JSON = ["type": "string"]
    private static let time: JSON = ["type": "string", "format": "date-time"]
    private static let count: JSON = ["type": "integer", "minimum": 0]

    private static func object(_ required: [String], _ members: [JSON.Member]) -> JSON {
        [
            "type": "object", "required": .strings(required), "additionalProperties": false,
            "properties": .object(members),
        ]
    }

    private static var data: [JSON.Member] {
        let texts = [
            "message_id", "header_message_id", "sender", "recipient", "tag", "user", "client_ip", "route", "lane",
            "source_ip",
            "reason_help", "actor", "subject", "text",
        ]
        let counts = ["recipient_count", "size_bytes", "attempt", "count"]
        var members = texts.map { JSON.Member($0, text) } + counts.map { JSON.Member($0, count) }
        members += ["next_attempt_at", "until"].map { JSON.Member($0, time) }
        members += [
            JSON.Member("mx", object(["host"], [.init("host", text), .init("ip", text), .init("port", count)])),
            JSON.Member(
                "tls",
                object(
                    ["version", "cipher", "trust"],
                    [
                        .init("version", text), .init("cipher", text),
                        .init("trust", ["type": "string", "enum": ["unverified", "verified", "dane"]]),
                    ]
                )
            ),
            JSON.Member(
                "smtp",
                object(
                    ["code", "text"],
                    [.init("code", count), .init("enhanced", text), .init("text", text), .init("stage", text)]
                )
            ),
            JSON.Member("class", ["type": "string", "enum": ["temporary", "permanent"]]),
            JSON.Member("reply_class", ["type": "string", "enum": .strings(ReplyClass.allCases.map(\.name))]),
            JSON.Member("reason", ["type": "string", "enum": .strings(FailureReason.allCases.map(\.name))]),
            JSON.Member("stage_ms", ["type": "object", "additionalProperties": count]),
            JSON.Member("delay_s", ["type": "number", "minimum": 0]),
            JSON.Member("may_be_duplicate", ["type": "boolean"]),
        ]
        return members
    }
}
