// HookQuestion.swift — what a program is asked: JSON with the document's names.

import Hooks
import Mail

/// The body of a request; members that a hook does not have are left out.
struct HookQuestion: Encodable, Sendable {
    struct MailDescription: Encodable, Sendable {
        struct Todo: Encodable, Sendable {
            let mail_from: String
            let rcpt_to: [String]
            let domain: String
            let queue_time: Int64
            let uuid: String
            let notes: [String: String]
            let force_tls: Bool
        }

        let uuid: String
        let num_failures: Int
        let notes: [String: String]
        let todo: Todo

        init(_ mail: HMail) {
            uuid = mail.id.description
            num_failures = mail.failures
            notes = mail.notes.words
            todo = Todo(
                mail_from: mail.sender.description,
                rcpt_to: mail.recipients.map(\.address.description),
                domain: mail.domain.name,
                queue_time: mail.queuedAt.milliseconds,
                uuid: mail.id.description,
                notes: mail.notes.words,
                force_tls: mail.notes.forceTLS
            )
        }
    }

    struct TransactionDescription: Encodable, Sendable {
        let mail_from: String
        let rcpt_to: [String]
        let notes: [String: String]
        let data_bytes: Int
        let auth_user: String?
        let remote_ip: String?
    }

    struct Host: Encodable, Sendable {
        let priority: UInt16
        let exchange: String
        let port: UInt16
        let using_lmtp: Bool
        let bind: String?
        let auth_user: String?

        init(_ mx: MX) {
            priority = mx.priority
            exchange = mx.exchange
            port = mx.port
            using_lmtp = mx.usingLMTP
            bind = mx.bind?.description
            auth_user = mx.auth?.user
        }
    }

    struct FailedAddress: Encodable, Sendable {
        let address: String
        let reason: String

        init(_ failed: FailedRecipient) {
            address = failed.recipient.address.description
            reason = failed.failure.reply.description
        }
    }

    /// One host that was tried.
    struct Trouble: Encodable, Sendable {
        let host: String?
        let stage: String
        let reason: String

        init(_ failure: Failure) {
            host = failure.remote
            stage = "\(failure.stage)"
            reason = failure.reply.description
        }
    }

    struct Params: Encodable, Sendable {
        // deferred
        var delay: Double?
        var err: String?
        var hosts: [Trouble]?
        var rcpt: [FailedAddress]?
        var mx: Host?
        // delivered
        var host: String?
        var ip: String?
        var response: String?
        var port: UInt16?
        var mode: String?
        var ok_recips: [String]?
        var secured: Bool?
    }

    struct ErrorDescription: Encodable, Sendable {
        let message: String
        let mx: Host?
        let deferred_rcpt: [FailedAddress]
        let bounced_rcpt: [FailedAddress]
    }

    let hook: String
    var hmail: MailDescription?
    var domain: String?
    var params: Params?
    var error: ErrorDescription?
    var transaction: TransactionDescription?
    /// The beginning of the message, or the message, as `contents` of `hooks.ini` wants it.
    var header: String?
    var message: String?

    init(_ hook: Hook, _ mail: HMail? = nil) {
        self.hook = hook.rawValue
        hmail = mail.map(MailDescription.init)
    }
}

extension HookQuestion {
    static func deferred(_ mail: HMail, _ notice: DeferredNotice) -> HookQuestion {
        var question = HookQuestion(.deferred, mail)
        question.params = Params(
            delay: notice.delay.seconds,
            err: notice.error.reply.description,
            hosts: notice.hosts.map(Trouble.init),
            rcpt: notice.recipients.map(FailedAddress.init),
            mx: notice.mx.map(Host.init)
        )
        return question
    }

    static func bounce(_ mail: HMail, _ notice: BounceNotice) -> HookQuestion {
        var question = HookQuestion(.bounce, mail)
        question.error = ErrorDescription(
            message: notice.error.reply.description,
            mx: notice.mx.map(Host.init),
            deferred_rcpt: notice.deferredRecipients.map(FailedAddress.init),
            bounced_rcpt: notice.bouncedRecipients.map(FailedAddress.init)
        )
        return question
    }

    static func delivered(_ mail: HMail, _ notice: DeliveredNotice) -> HookQuestion {
        var question = HookQuestion(.delivered, mail)
        question.params = Params(
            delay: notice.delay.seconds,
            host: notice.host,
            ip: notice.ip?.description,
            response: notice.response.description,
            port: notice.port,
            mode: notice.mode.rawValue,
            ok_recips: notice.recipients.map(\.address.description),
            secured: notice.isSecured
        )
        return question
    }

    static func queueOutbound(_ envelope: Envelope, size: Int) -> HookQuestion {
        var question = HookQuestion(.queueOutbound)
        question.transaction = TransactionDescription(
            mail_from: envelope.sender.description,
            rcpt_to: envelope.recipients.map(\.address.description),
            notes: envelope.notes.words,
            data_bytes: size,
            auth_user: envelope.user,
            remote_ip: envelope.notes.client?.description
        )
        return question
    }
}

extension Notes {
    /// All notes by the document's names.
    fileprivate var words: [String: String] {
        var words = values
        if let outboundIP { words["outbound_ip"] = outboundIP.description }
        if let outboundHelo { words["outbound_helo"] = outboundHelo.name }
        if forceTLS { words["force_tls"] = "true" }
        return words
    }
}

extension Duration {
    fileprivate var seconds: Double { self / .seconds(1) }
}
