// PostmarkBody.swift — events as consumers of Postmark's webhooks take them: one flat object, told by its `RecordType`. Pure.
//
// Postmark tells of deliveries and bounces; what is accepted, and what is tried again, it does not tell.

import History
import JSON
import Mail

enum PostmarkBody {
    static func value(_ event: Event) -> JSON? {
        guard let recipient = event.data.recipient else { return nil }
        let time = event.time.rfc3339
        let common: [(String, JSON)] = [
            ("MessageID", .string(ForeignBody.queueID(event))), ("ServerID", 0), ("MessageStream", "outbound"),
            ("Tag", .string(event.data.tag ?? "")), ("Metadata", [:]),
        ]
        switch event.type {
        case .delivered:
            return .object(
                of: [
                    ("RecordType", "Delivery"), ("Recipient", .string(recipient)), ("DeliveredAt", .string(time)),
                    ("Details", .string(ForeignBody.response(event))),
                ] + common
            )
        case .complained:
            return .object(
                of: [
                    ("RecordType", "SpamComplaint"), ("ID", .count(event.seq)), ("Type", "SpamComplaint"),
                    ("TypeCode", 100_001), ("Name", "Spam complaint"),
                    ("Description", "The recipient says that the mail was not wanted."), ("Details", ""),
                    ("Email", .string(recipient)), ("From", .string(event.data.sender ?? "")),
                    ("BouncedAt", .string(time)), ("DumpAvailable", false), ("Inactive", true), ("CanActivate", false),
                    ("Subject", ""), ("Content", ""),
                ] + common
            )
        case .bounced, .suppressed, .bouncedLate:
            let (type, code, name, text) = kind(event)
            let isHard = code == 1
            return .object(
                of: [
                    ("RecordType", "Bounce"), ("ID", .count(event.seq)), ("Type", .string(type)),
                    ("TypeCode", .count(code)),
                    ("Name", .string(name)), ("Description", .string(text)),
                    ("Details", .string(ForeignBody.response(event))), ("Email", .string(recipient)),
                    ("From", .string(event.data.sender ?? "")), ("BouncedAt", .string(time)), ("DumpAvailable", false),
                    ("Inactive", .bool(isHard)), ("CanActivate", true), ("Subject", ""), ("Content", ""),
                ] + common
            )
        default: return nil
        }
    }

    /// Word and number of theirs; names and descriptions are ours.
    private static func kind(_ event: Event) -> (String, Int, String, String) {
        if event.type == .suppressed {
            return (
                "ManuallyDeactivated", 100_006, "Suppressed", "The address is on the list of those that get nothing."
            )
        }
        if ForeignBody.isHard(event) {
            return ("HardBounce", 1, "Hard bounce", "The server says that there is no such mailbox.")
        }
        switch event.data.reason?.replyClass {
        case .dns: return ("DnsError", 256, "DNS error", "The domain's servers were not found.")
        case .spamContent, .spamBlock:
            return (
                "SpamNotification", 512, "Refused as spam",
                "The server refused the mail for what it holds or whence it came."
            )
        case .policy, .authFailed, .relayDenied:
            return ("Blocked", 100_008, "Blocked", "A policy of the receiving side refused the mail.")
        default:
            return ("SoftBounce", 4096, "Soft bounce", "The mail was not taken, which says nothing of the address.")
        }
    }
}
