// Acceptance.swift — the line in the log that says that a message was accepted.

import Log
import Mail
import Queue
import SMTP
import Storage

/// What the log says of an accepted message, kept while the disk syncs it.
struct Acceptance: Sendable {
    let id: QueueID
    /// The first of the messages that one was made into.
    private let first: QueueID?
    /// Of the archive's copy: the message.
    private let original: QueueID?
    private let sender: ReversePath
    /// Of a report, and of a message that was split: who gets it.
    private let recipient: EmailAddress?
    private let recipients: Int
    private let size: Int
    private let user: String?
    private let provenance: Provenance
    let mending: Mending
    /// What was counted for it, once.
    var use: EntryUse?
    /// It is given up once the queue has it.
    var seat: EntrySeat?

    init(
        _ message: NewMessage,
        _ provenance: Provenance,
        _ mending: Mending,
        partOf first: QueueID? = nil,
        use: EntryUse? = nil,
        seat: EntrySeat? = nil,
        copyOf original: QueueID? = nil
    ) {
        self.use = use
        self.seat = seat
        id = message.id
        self.first = first
        self.original = original
        sender = message.envelope.sender
        recipient =
            provenance.about == nil && first == nil && original == nil
            ? nil : message.envelope.recipients.first?.address
        recipients = message.envelope.recipients.count
        size = message.content.size
        user = message.envelope.user
        self.provenance = provenance
        self.mending = mending
    }

    func log(to log: LogSink) {
        log.write(.accepted) { line in
            line.add(.id, id.description)
            switch sender {
            case .null: line.add(.from, "")
            case .address(let address): line.add(.from, address.local, UInt8(ascii: "@"), address.domain.name)
            }
            if let recipient { line.add(.to, recipient.local, UInt8(ascii: "@"), recipient.domain.name) }
            line.add(.recipients, recipients)
            line.add(.size, size)
            if let client = provenance.client {
                line.add(.client, client.shownLiteral)
                line.add(.helo, client.forwarded?.helo.value ?? client.helo)
            }
            if let user {
                line.add(.user, user)
                if let mechanism = provenance.client?.mechanism { line.add(.mechanism, mechanism.rawValue) }
            }
            if let tls = provenance.client?.tls { line.add(.tls, tls) }
            if !mending.isEmpty { line.add(.mended, mending.names) }
            if let about = provenance.about { line.add(.about, about.description) }
            if let first { line.add(.partOf, first.description) }
            if let original { line.add(.archiveOf, original.description) }
        }
    }
}
