// Event+JSON.swift — an event as JSON: the form of `openapi.yaml`, for every reader alike. Members are only ever added.

package import JSON
import Mail

extension Event {
    /// `{id, seq, type, time, node, data}`; what is not known is left out.
    package var json: JSON {
        [
            "id": .string(id),
            "seq": .count(seq),
            "type": .string(type.name),
            "time": .string(time.rfc3339),
            "node": .string(node),
            "data": data.json(of: type),
        ]
    }
}

extension EventData {
    /// The member `data`.
    ///
    /// - Parameter type: of the event, which the class of a failure follows from.
    func json(of type: EventType) -> JSON {
        var object: [JSON.Member] = []
        func add(_ name: String, _ value: JSON?) {
            if let value { object.append(JSON.Member(name, value)) }
        }
        add("message_id", message.map { .string("\($0)") })
        add("header_message_id", headerMessageID.map(JSON.string))
        add("sender", sender.map(JSON.string))
        add("recipient", recipient.map(JSON.string))
        add("recipient_count", recipientCount.map { .count($0) })
        add("tag", tag.map(JSON.string))
        add("user", user.map(JSON.string))
        add("client_ip", client.map { .string("\($0)") })
        add("size_bytes", size.map { .count($0) })
        add("route", route.map(JSON.string))
        add("lane", lane.map(JSON.string))
        add("mx", mx.map(\.json))
        add("source_ip", source.map { .string("\($0)") })
        add("tls", tls.map(\.json))
        add("smtp", smtp.map(\.json))
        add("class", Self.failureClass(type).map(JSON.string))
        add("reply_class", reason.map { .string($0.replyClass.name) })
        add("reason", reason.map { .string($0.name) })
        add("reason_help", reason.map { .string("/documentation/martlet/reasons#\($0.name)") })
        add("attempt", attempt.map { .count($0) })
        add("next_attempt_at", nextAttempt.map { .string($0.rfc3339) })
        add("stage_ms", stages.isEmpty ? nil : .object(of: stages.map { ($0.name, .integer($0.milliseconds)) }))
        add("delay_s", age.map { .number(Double($0) / 1000) })
        add("may_be_duplicate", mayBeDuplicate ? .bool(true) : nil)
        add("actor", actor.map(JSON.string))
        add("subject", subject.map(JSON.string))
        add("text", text.map(JSON.string))
        add("until", until.map { .string($0.rfc3339) })
        add("count", count.map { .count($0) })
        return .object(object)
    }

    /// Whether it may still arrive: `temporary` or `permanent`.
    private static func failureClass(_ type: EventType) -> String? {
        switch type {
        case .deferred: "temporary"
        case .bounced, .suppressed, .bouncedLate: "permanent"
        default: nil
        }
    }
}

extension EventData.Host {
    fileprivate var json: JSON {
        var json: JSON = ["host": .string(host)]
        if let ip { json["ip"] = .string("\(ip)") }
        if let port { json["port"] = .count(port) }
        return json
    }
}

extension ChannelSecurity {
    fileprivate var json: JSON {
        let trust =
            switch self.trust {
            case .none: "unverified"
            case .name: "verified"
            case .dane: "dane"
            }
        return ["version": .string(version), "cipher": .string(cipher), "trust": .string(trust)]
    }
}

extension EventData.Words {
    fileprivate var json: JSON {
        var json: JSON = ["code": .count(code)]
        if let enhanced { json["enhanced"] = .string("\(enhanced)") }
        json["text"] = .string(text)
        if let stage { json["stage"] = .string(stage) }
        return json
    }
}
