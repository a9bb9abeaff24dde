// SESBody.swift — events as consumers of Amazon SES take them: what a topic with raw delivery posts. Pure.
//
// Both names of the kind are there: `eventType` of event publishing and `notificationType` of feedback notifications. Their
// envelope is signed by that service alone and is not imitated.

import History
import JSON
import Mail

enum SESBody {
    static func value(_ event: Event) -> JSON? {
        guard let kind = kind(event), let recipient = event.data.recipient else { return nil }
        let time = event.time.rfc3339
        var value: JSON = [
            "eventType": .string(kind), "notificationType": .string(kind), "mail": mail(event, recipient),
        ]
        let response = ForeignBody.response(event)
        var named: JSON = ["emailAddress": .string(recipient)]
        named["action"] = .string(kind == "DeliveryDelay" ? "delayed" : "failed")
        named["status"] = .optional(event.data.smtp?.enhanced.map { "\($0)" })
        named["diagnosticCode"] = .string("smtp; \(response)")
        switch kind {
        case "Bounce":
            let isHard = ForeignBody.isHard(event)
            value["bounce"] = [
                "bounceType": .string(isHard ? "Permanent" : "Transient"),
                "bounceSubType": .string(subtype(event)),
                "bouncedRecipients": .array([named]),
                "timestamp": .string(time),
                "feedbackId": .string(event.id),
                "reportingMTA": .string("dns; \(event.node)"),
            ]
        case "Delivery":
            value["delivery"] = [
                "timestamp": .string(time),
                "processingTimeMillis": .count(event.data.age ?? 0),
                "recipients": .strings([recipient]),
                "smtpResponse": .string(response),
                "remoteMtaIp": .optional(event.data.mx?.ip.map { "\($0)" }),
                "reportingMTA": .string(event.node),
            ]
        case "Complaint":
            value["complaint"] = [
                "complainedRecipients": .array([["emailAddress": .string(recipient)]]),
                "timestamp": .string(time),
                "feedbackId": .string(event.id),
                "complaintFeedbackType": "abuse",
                "userAgent": .optional(event.data.subject),
            ]
        case "DeliveryDelay":
            named["action"] = nil
            value["deliveryDelay"] = [
                "timestamp": .string(time),
                "delayType": .string(delay(event)),
                "delayedRecipients": .array([named]),
            ]
        default: break
        }
        return value
    }

    private static func kind(_ event: Event) -> String? {
        switch event.type {
        case .delivered: "Delivery"
        case .deferred: "DeliveryDelay"
        case .bounced, .suppressed, .bouncedLate: "Bounce"
        case .complained: "Complaint"
        default: nil
        }
    }

    private static func mail(_ event: Event, _ recipient: String) -> JSON {
        let sender = event.data.sender ?? ""
        let messageID = ForeignBody.messageID(event)
        var mail: JSON = [
            "timestamp": .string(event.time.adding(milliseconds: -(event.data.age ?? 0)).rfc3339),
            "source": .string(sender),
            "messageId": .string(ForeignBody.queueID(event)),
            "destination": .strings([recipient]),
            "headersTruncated": false,
            "headers": .array([["name": "Message-ID", "value": .string(messageID)]]),
            "commonHeaders": [
                "from": .strings([sender]), "to": .strings([recipient]), "messageId": .string(messageID),
            ],
        ]
        if let tag = event.data.tag, !tag.isEmpty { mail["tags"] = ["tag": .strings([tag])] }
        return mail
    }

    private static func subtype(_ event: Event) -> String {
        if event.type == .suppressed { return "Suppressed" }
        switch event.data.reason?.replyClass {
        case .quota: return "MailboxFull"
        case .messageSize: return "MessageTooLarge"
        case .spamContent: return "ContentRejected"
        case .invalidRecipient: return "NoEmail"
        default: return "General"
        }
    }

    private static func delay(_ event: Event) -> String {
        if event.data.reason == .tls { return "TransientCommunicationFailure" }
        return switch event.data.reason?.replyClass {
        case .quota: "MailboxFull"
        case .dns: "RecipientServerError"
        case .connection: "TransientCommunicationFailure"
        case .rate, .spamBlock, .greylist: "IPFailure"
        default: "General"
        }
    }
}
