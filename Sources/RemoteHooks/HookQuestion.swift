// HookQuestion.swift — what a program is asked: JSON with the document's names.

import Config
import Hooks
import JSON
import Mail

/// The body of a request; members that a hook does not have are left out.
struct HookQuestion: Sendable {
    private(set) var value: JSON

    init(_ hook: Hook, _ mail: HMail? = nil, domain: Domain? = nil) {
        value = ["hook": .string(hook.rawValue)]
        value["hmail"] = mail.map(JSON.mail)
        value["domain"] = domain.map { .string($0.name) }
    }

    private init(_ hook: Hook, _ mail: HMail? = nil, _ name: String, _ members: JSON) {
        self.init(hook, mail)
        value[name] = members
    }

    /// Adds the beginning of the message, or all of it, as `contents` of `hooks.ini` wants it.
    mutating func add(_ contents: [UInt8], as name: String) {
        value[name] = .string(String(decoding: contents, as: UTF8.self))
    }

    static func deferred(_ mail: HMail, _ notice: DeferredNotice) -> HookQuestion {
        var params: JSON = [
            "delay": .number(notice.delay.seconds),
            "err": .string(notice.error.reply.description),
            "hosts": .array(notice.hosts.map(JSON.trouble)),
            "rcpt": .array(notice.recipients.map(JSON.failed)),
        ]
        params["mx"] = notice.mx.map(\.told)
        return HookQuestion(.deferred, mail, "params", params)
    }

    static func bounce(_ mail: HMail, _ notice: BounceNotice) -> HookQuestion {
        var error: JSON = [
            "message": .string(notice.error.reply.description),
            "deferred_rcpt": .array(notice.deferredRecipients.map(JSON.failed)),
            "bounced_rcpt": .array(notice.bouncedRecipients.map(JSON.failed)),
        ]
        error["mx"] = notice.mx.map(\.told)
        return HookQuestion(.bounce, mail, "error", error)
    }

    static func delivered(_ mail: HMail, _ notice: DeliveredNotice) -> HookQuestion {
        var params: JSON = [
            "delay": .number(notice.delay.seconds),
            "host": .string(notice.host),
            "response": .string(notice.response.description),
            "port": .count(notice.port),
            "mode": .string(notice.mode.rawValue),
            "ok_recips": .strings(notice.recipients.map(\.address.description)),
            "secured": .bool(notice.isSecured),
        ]
        params["ip"] = notice.ip.map { .string($0.description) }
        return HookQuestion(.delivered, mail, "params", params)
    }

    static func receive(_ hook: Hook, _ guest: Guest) -> HookQuestion {
        var connection: JSON = ["helo": .string(guest.helo), "secured": .bool(guest.isSecure)]
        connection["remote_ip"] = guest.address.map { .string($0.description) }
        connection["listener"] = guest.listener.map { .string($0) }
        connection["auth_user"] = guest.user.map { .string($0) }
        connection["mail_from"] = guest.sender.map { .string($0.description) }
        connection["rcpt_to"] = guest.recipient.map { .string($0.description) }
        return HookQuestion(hook, nil, "connection", connection)
    }

    static func queueOutbound(_ envelope: Envelope, size: Int) -> HookQuestion {
        var transaction: JSON = [
            "mail_from": .string(envelope.sender.description),
            "rcpt_to": .strings(envelope.recipients.map(\.address.description)),
            "notes": .notes(envelope.notes),
            "data_bytes": .count(size),
        ]
        transaction["auth_user"] = envelope.user.map { .string($0) }
        transaction["remote_ip"] = envelope.notes.client.map { .string($0.description) }
        return HookQuestion(.queueOutbound, nil, "transaction", transaction)
    }
}

// MARK: - Parts

extension JSON {
    fileprivate static func mail(_ mail: HMail) -> JSON {
        let notes = JSON.notes(mail.notes)
        return [
            "uuid": .string(mail.id.description),
            "num_failures": .count(mail.failures),
            "notes": notes,
            "todo": [
                "mail_from": .string(mail.sender.description),
                "rcpt_to": .strings(mail.recipients.map(\.address.description)),
                "domain": .string(mail.domain.name),
                "queue_time": .count(mail.queuedAt.milliseconds),
                "uuid": .string(mail.id.description),
                "notes": notes,
                "force_tls": .bool(mail.notes.forceTLS),
            ],
        ]
    }

    /// A recipient and why it failed.
    fileprivate static func failed(_ failed: FailedRecipient) -> JSON {
        [
            "address": .string(failed.recipient.address.description),
            "reason": .string(failed.failure.reply.description),
        ]
    }

    /// One host that was tried.
    fileprivate static func trouble(_ failure: Failure) -> JSON {
        var trouble: JSON = [
            "stage": .string("\(failure.stage)"),
            "reason": .string(failure.reply.description),
        ]
        trouble["host"] = failure.remote.map { .string($0) }
        return trouble
    }

    /// All notes by the document's names.
    fileprivate static func notes(_ notes: Notes) -> JSON {
        var words = JSON.object(of: notes.values.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
        if let outboundIP = notes.outboundIP { words["outbound_ip"] = .string(outboundIP.description) }
        if let outboundHelo = notes.outboundHelo { words["outbound_helo"] = .string(outboundHelo.name) }
        if notes.forceTLS { words["force_tls"] = .string("true") }
        return words
    }
}

extension Duration {
    fileprivate var seconds: Double { self / .seconds(1) }
}
