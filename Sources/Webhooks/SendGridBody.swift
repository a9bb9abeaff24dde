// SendGridBody.swift — events as consumers of SendGrid's Event Webhook take them: a list of flat objects. Pure.
//
// Their signature (ECDSA) is not ours to give: the body is signed as Standard Webhooks are.

import History
import JSON
import Mail

enum SendGridBody {
    static func value(_ event: Event) -> JSON? {
        guard let word = word(event), let recipient = event.data.recipient else { return nil }
        var value: JSON = [
            "email": .string(recipient),
            "timestamp": .count(event.time.milliseconds / 1000),
            "smtp-id": .string(ForeignBody.messageID(event)),
            "event": .string(word),
            "sg_event_id": .string(event.id),
            "sg_message_id": .string(ForeignBody.queueID(event)),
        ]
        if let tag = event.data.tag, !tag.isEmpty { value["category"] = .strings([tag]) }
        if let ip = event.data.mx?.ip { value["ip"] = .string("\(ip)") }
        let response = ForeignBody.response(event)
        switch word {
        case "delivered":
            value["response"] = .string(response)
            value["tls"] = .count(event.data.tls == nil ? 0 : 1)
        case "deferred":
            value["response"] = .string(response)
            // A text with them, too.
            value["attempt"] = .string("\(event.data.attempt ?? 1)")
        case "bounce":
            value["reason"] = .string(response)
            value["status"] = .optional(event.data.smtp?.enhanced.map { "\($0)" })
            value["type"] = .string(ForeignBody.isHard(event) ? "bounce" : "blocked")
            value["bounce_classification"] = .string(classification(event))
        case "dropped": value["reason"] = .string("Bounced Address")
        default: break
        }
        return value
    }

    private static func word(_ event: Event) -> String? {
        switch event.type {
        case .delivered: "delivered"
        case .deferred: "deferred"
        case .bounced, .bouncedLate: "bounce"
        case .complained: "spamreport"
        case .suppressed: "dropped"
        default: nil
        }
    }

    /// The seven words there are.
    private static func classification(_ event: Event) -> String {
        if event.data.reason == .noMX { return "Invalid Address" }
        return switch event.data.reason?.replyClass {
        case .invalidRecipient: "Invalid Address"
        case .quota, .inactive: "Mailbox Unavailable"
        case .spamBlock, .rate: "Reputation"
        case .spamContent, .policy: "Content"
        case .connection, .dns, .authFailed, .relayDenied, .protocolError, .messageSize: "Technical"
        case .greylist, .expired: "Frequency or Volume Too High"
        default: "Unclassified"
        }
    }
}
