// MailReport.swift — what somebody else's report about a message says: of its delivery (RFC 3464, RFC 6533), or that its
// recipient complained (RFC 5965). Values; `MailReportReader.swift` reads them.

package import Mail

/// A report that a machine wrote for a machine.
package enum MailReport: Hashable, Sendable {
    case delivery(DeliveryReport)
    case feedback(FeedbackReport)

    /// Why a message is no report that can be used.
    package enum Fault: Error, Hashable, Sendable, CaseIterable {
        /// There is no part that a machine could read.
        case noReport
        /// Too many parts, or parts in parts, or recipients.
        case tooComplex
        /// The part, or what stands in front of it, has more octets than are read.
        case tooLong
        /// The report names nobody whom it is about.
        case nobody

        /// For whoever sent it.
        package var sentence: String {
            switch self {
            case .noReport: "only delivery reports (RFC 3464) and feedback reports (RFC 5965) are taken here"
            case .tooComplex: "the report has too many parts or recipients"
            case .tooLong: "the report is too long"
            case .nobody: "the report does not say whom it is about"
            }
        }
    }
}

/// What became of recipients, as the host says that gave up.
package struct DeliveryReport: Hashable, Sendable {
    /// What became of one.
    package enum Action: String, Hashable, Sendable {
        case failed, delayed, delivered, relayed, expanded
    }

    /// One of those that it is about.
    package struct Recipient: Hashable, Sendable {
        /// Where the mail was going at last.
        package var final: EmailAddress?
        /// Whom it was for when it was handed in.
        package var original: EmailAddress?
        package var action: Action?
        package var status: EnhancedStatus?
        /// What the last host was told; made of the status where nobody says.
        package var reply: Reply
        /// The host that said so; printable, 255 octets at most.
        package var remote: String?

        /// Mail to it failed for good.
        package var isFailed: Bool { action == .failed || action == nil && status?.class == 5 }
    }

    /// The host that wrote the report; printable, 255 octets at most.
    package var reporter: String?
    package var recipients: [Recipient] = []

    /// Recipients that are read of one report.
    static let most = 100
}

/// That somebody says something of mail that he got.
package struct FeedbackReport: Hashable, Sendable {
    /// `Feedback-Type`, in small letters: `abuse`, `fraud`, `not-spam`; printable.
    package var kind = ""
    /// The program that wrote it; printable.
    package var agent: String?
    /// Senders that the message had by its envelope, as far as the report tells: `Original-Mail-From`, and `Return-Path` of
    /// the message it holds.
    package var senders: [EmailAddress] = []
    /// `Original-Rcpt-To`.
    package var recipients: [EmailAddress] = []

    /// The recipient says that the mail was not wanted.
    package var isComplaint: Bool { kind == "abuse" }

    /// Addresses of a kind that are read.
    static let most = 20
}
