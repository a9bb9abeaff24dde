// Notices.swift — what plugins are told: the document's parameters of `deferred`, `bounce` and `delivered`.

package import Mail

/// A recipient, and why it failed.
package struct FailedRecipient: Hashable, Sendable {
    package let recipient: Recipient
    package let failure: Failure

    package init(_ recipient: Recipient, _ failure: Failure) {
        self.recipient = recipient
        self.failure = failure
    }
}

/// Some recipients failed for now.
///
/// The mail's ``HMail/failures`` counts this failure.
package struct DeferredNotice: Hashable, Sendable {
    /// Until the next attempt, unless a plugin wants another time.
    package let delay: Duration
    /// What the last host said, or why it could not be reached.
    package let error: Failure
    /// Every host that was tried, in that order, with its own trouble; the last one is ``error``.
    package let hosts: [Failure]
    /// By recipient.
    package let recipients: [FailedRecipient]
    /// The host that answered; nil when none did.
    package let mx: MX?

    package init(delay: Duration, error: Failure, hosts: [Failure], recipients: [FailedRecipient], mx: MX?) {
        self.delay = delay
        self.error = error
        self.hosts = hosts
        self.recipients = recipients
        self.mx = mx
    }
}

/// Some recipients failed for good.
package struct BounceNotice: Hashable, Sendable {
    /// What the host said about the first of them.
    package let error: Failure
    /// The host that caused the bounce; nil when none was reached.
    package let mx: MX?
    /// Recipients that failed temporarily until no attempt was left.
    package let deferredRecipients: [FailedRecipient]
    /// Recipients that were refused.
    package let bouncedRecipients: [FailedRecipient]

    package init(
        error: Failure,
        mx: MX?,
        deferredRecipients: [FailedRecipient],
        bouncedRecipients: [FailedRecipient]
    ) {
        self.error = error
        self.mx = mx
        self.deferredRecipients = deferredRecipients
        self.bouncedRecipients = bouncedRecipients
    }
}

/// Some recipients were delivered.
package struct DeliveredNotice: Hashable, Sendable {
    /// The protocol that was spoken.
    package enum Mode: String, Hashable, Sendable {
        case smtp = "SMTP"
        case lmtp = "LMTP"
    }

    /// The name of the MX.
    package let host: String
    /// Its address; nil for a Unix socket.
    package let ip: IPAddress?
    /// What it said; often with the message's name in its queue.
    package let response: Reply
    /// Since the message was accepted.
    package let delay: Duration
    package let port: UInt16
    package let mode: Mode
    /// Those it took: `ok_recips`.
    package let recipients: [Recipient]
    /// The connection was encrypted.
    package let isSecured: Bool

    package init(_ receipt: Receipt, delay: Duration, recipients: [Recipient]) {
        host = receipt.host
        ip = receipt.ip
        response = receipt.reply
        self.delay = delay
        port = receipt.port
        mode = receipt.isLMTP ? .lmtp : .smtp
        self.recipients = recipients
        isSecured = receipt.isSecured
    }
}
