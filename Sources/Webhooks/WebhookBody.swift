// WebhookBody.swift — events in the words of a format: what is posted, and which events the format has words for. Pure.

package import Config
package import History
package import JSON
import Mail

/// A body and what goes with it.
package struct WebhookBody: Hashable, Sendable {
    /// The same in every attempt: the event's own, or that of the first and the last of a batch.
    package let id: String
    package let bytes: [UInt8]
    /// Headers besides the signature's.
    package let headers: [HeaderLine]

    /// Name and value.
    package struct HeaderLine: Hashable, Sendable {
        package let name: String
        package let value: String
    }

    /// Events in the words of a format.
    ///
    /// - Parameter events: one at least, and one alone where the format takes no batches; all of them told by the format.
    package init(_ events: [Event], _ format: WebhookSettings.Format, size: Int) {
        id = Self.id(events)
        let told = events.compactMap { Self.value($0, format) }
        let isList = format == .sendgrid || format == .standard && size > 1
        bytes = (isList ? JSON.array(told) : told.first ?? .null).bytes
        var headers = [HeaderLine(name: "Content-Type", value: "application/json")]
        if format == .ses {
            // The receiver gets what a topic with raw delivery sends: no envelope, and no signature of that service.
            headers.append(HeaderLine(name: "x-amz-sns-rawdelivery", value: "true"))
            headers.append(HeaderLine(name: "x-amz-sns-message-type", value: "Notification"))
        }
        self.headers = headers
    }

    private static func id(_ events: [Event]) -> String {
        guard let first = events.first, let last = events.last else { return "" }
        return events.count == 1 ? first.id : "\(first.id)-\(last.id)"
    }

    /// An event in the words of a format; nil when the format has none for it.
    package static func value(_ event: Event, _ format: WebhookSettings.Format) -> JSON? {
        switch format {
        case .standard: event.json
        case .sendgrid: SendGridBody.value(event)
        case .ses: SESBody.value(event)
        case .postmark: PostmarkBody.value(event)
        }
    }
}

/// What the formats of others have in common.
enum ForeignBody {
    /// `250 2.0.0 OK`: what the other side said, on one line.
    static func response(_ event: Event) -> String {
        guard let words = event.data.smtp else { return "" }
        let parts = ["\(words.code)", words.enhanced.map { "\($0)" } ?? "", words.text]
        return parts.filter { !$0.isEmpty }.joined(separator: " ")
    }

    /// `Message-ID` of the header, in its brackets.
    static func messageID(_ event: Event) -> String { event.data.headerMessageID ?? "" }

    /// Our own number of the message.
    static func queueID(_ event: Event) -> String { event.data.message.map { "\($0)" } ?? "" }

    /// A bounce that says that the mailbox is not there, in contrast to one that speaks of this mail or this hour.
    static func isHard(_ event: Event) -> Bool {
        switch event.data.reason {
        case .mailboxUnknown, .mailboxInactive, .noMX: true
        // Nobody knows why; a refusal for good counts as one of the address.
        case .other, nil: (event.data.smtp?.code ?? 0) >= 500
        default: false
        }
    }
}
