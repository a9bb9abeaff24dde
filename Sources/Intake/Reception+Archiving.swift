// Reception+Archiving.swift — `archive.ini` on the way in: one more message for the archive, accepted together with the one
// that it is a copy of.
//
// Guarantees: at most one copy for each message, whatever its recipients and however many sections fit; copies, reports of
// ours and mail for archives alone are never copied; where a copy is required, nobody hears 250 before it is synced with
// the message, and where it is not, its absence is a line in the log, a count and an event.

import Config
package import Files
import History
package import Log
package import Mail
import MessageFormat
import NIOCore
import OpenSSL
import Queue
import Storage

/// The archive's copy of a message that is about to be accepted.
struct ArchiveCopy: Sendable {
    let id: QueueID
    let original: QueueID
    let at: Timestamp
    let envelope: Envelope
    let prologue: ByteBuffer
    /// Behind the message's last octet.
    let ending: [UInt8]
    let traits: ContentTraits
    let isRequired: Bool
    /// Sections that ask for it.
    let names: [String]

    /// The message that is queued.
    ///
    /// - Parameter body: the message's own, where it is in memory; a file is the copy's, complete.
    func message(of body: Content.Body) -> NewMessage {
        var body = body
        if case .memory(var bytes) = body, !ending.isEmpty {
            bytes.writeBytes(ending)
            body = .memory(bytes)
        }
        let content = Content(
            prologue: prologue,
            body: body,
            hasLeadingDots: traits.hasLeadingDots,
            isEightBit: traits.isEightBit
        )
        return NewMessage(id: id, acceptedAt: at, envelope: envelope, content: content)
    }
}

extension Envelope {
    private static let archiveNote = "archive_of"

    /// The message that this one, an archive's copy, is of; nil for any other.
    package var archivedMessage: String? { notes.values[Self.archiveNote] }

    /// Of a copy for an archive.
    fileprivate init(_ decision: ArchiveSettings.Decision, of original: QueueID, _ envelope: Envelope, isEightBit: Bool)
    {
        self.init(
            sender: decision.sender,
            recipients: decision.archives.map { Recipient($0, notify: decision.sender == .null ? .never : nil) },
            isEightBit: envelope.isEightBit || isEightBit,
            needsUTF8: envelope.needsUTF8,
            requiresTLS: envelope.requiresTLS
        )
        notes.values[Self.archiveNote] = original.description
    }
}

extension Reception {
    /// The copy that the complete message needs; nil: none, or none that there is room for.
    ///
    /// - Throws: when it is required and there is no room for it.
    func archiveCopy(_ prologue: ByteBuffer) throws(QueueError) -> ArchiveCopy? {
        guard !rules.archive.isEmpty, let draft, !draft.isStaged, let pending, pending.provenance.about == nil,
            !draft.glance.marks.contains(where: intake.marks.isOurs)
        else { return nil }
        var way = way
        way.login = pending.envelope.user
        guard let decision = rules.archive.decision(for: pending.envelope, way, rules.listeners) else { return nil }
        let id = intake.queue.makeID(at: draft.startedAt)
        let report = JournalReport(
            id,
            of: draft.id,
            me: rules.me,
            to: decision.archives,
            pending.envelope,
            at: draft.startedAt,
            draft.glance,
            marks: [intake.marks.mark(id)] + draft.glance.marks
        )
        let isJournal = decision.form == .journal
        let isEightBit = pending.traits.isEightBit || report.isEightBit
        let copy = ArchiveCopy(
            id: id,
            original: draft.id,
            at: draft.startedAt,
            envelope: Envelope(decision, of: draft.id, pending.envelope, isEightBit: isEightBit),
            prologue: isJournal
                ? report.beginning(before: prologue, isEightBit: pending.traits.isEightBit)
                : report.fields(before: prologue),
            ending: isJournal ? report.ending : [],
            traits: ContentTraits(hasLeadingDots: pending.traits.hasLeadingDots, isEightBit: isEightBit),
            isRequired: decision.isRequired,
            names: decision.names
        )
        let size = 2 * (draft.file?.size ?? body.readableBytes)
        guard !intake.queue.hasRoom(for: size) else { return copy }
        let error = QueueError.full("no room for a message and its copy for the archive")
        guard !decision.isRequired else {
            IntakeMetrics.count(.refused)
            throw error
        }
        miss(copy, because: error)
        return nil
    }

    /// The message is taken without its copy: nobody is to find out by chance.
    func miss(_ copy: ArchiveCopy, because error: QueueError) {
        IntakeMetrics.count(.missed)
        intake.log.write(.error, "no copy for the archive") { line in
            line.add(.id, copy.original.description)
            line.add(.key, copy.names.joined(separator: ", "))
            line.add(.error, String(describing: error))
        }
        var fact = CommandFact(.archiveFailed, at: .now())
        fact.subject = copy.original.description
        fact.text = "not made: \(error)"
        intake.queue.tell(fact)
    }
}

/// Marks of copies, so that one that comes back is known: nobody else can make them.
package struct ArchiveMarks: Sendable {
    private static let size = 32
    private let key: [UInt8]

    private init(_ key: [UInt8]) { self.key = key }

    /// Marks of this process alone.
    package init() { self.init((try? Secrets.random(Self.size)) ?? []) }

    /// Marks that are known after a restart too: `archive.key` in the data directory.
    ///
    /// Blocks.
    package init(in directory: String, _ disk: any Disk, log: LogSink) {
        let path = "\(directory)/archive.key"
        if let known = try? disk.contents(of: path, limit: 4096), known.count == Self.size {
            self.init(known)
            return
        }
        self.init()
        do throws(DiskError) {
            try disk.replace(path, with: key, permissions: 0o600)
        } catch {
            log.write(.warning, "marks of archives' copies do not outlive this process") { $0.add(.error, "\(error)") }
        }
    }

    /// The value of a copy's field.
    func mark(_ id: QueueID) -> String { "\(id) \(Base64.encode(tag("\(id)")))" }

    /// Whether a field's value is a mark of ours.
    func isOurs(_ value: String) -> Bool {
        let words = value.words
        guard words.count == 2, !key.isEmpty else { return false }
        return Secrets.areEqual(Array(words[1].utf8), Array(Base64.encode(tag(words[0])).utf8))
    }

    private func tag(_ id: some StringProtocol) -> [UInt8] {
        Array(KeyedHash.hmac(.sha256, key: key, message: Array(id.utf8)).prefix(18))
    }
}
