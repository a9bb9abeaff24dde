// Submission.swift — mail that is there as a whole: by the API, the source document's `send_email()`, reports of ours.
// From here on it is a message like one that came in by SMTP.

import Config
import Hooks
import Loop
package import Mail
import MessageFormat
package import NIOCore
import NIOPosix
package import Queue
import SMTP
package import Storage

/// A message that somebody hands in whole.
package struct Submission: Sendable {
    package var envelope: Envelope
    /// Header and body with CRLF line ends, not dot-stuffed; a file is finished, and belongs to whoever takes it in.
    package var content: Content.Body
    package var provenance: Provenance
    /// Its name, where it has one already.
    package var id: QueueID?
    /// When it was handed in.
    package var time: Timestamp
    /// What keeps it back once it is queued.
    package var hold: Hold?
    /// Where it waits for the note of what it tells; nil: it is queued by itself.
    package var tray: ReportTray?

    package init(
        _ envelope: Envelope,
        _ content: ByteBuffer,
        from provenance: Provenance,
        id: QueueID? = nil,
        at time: Timestamp = .now(),
        hold: Hold? = nil
    ) {
        self.init(envelope, .memory(content), from: provenance, id: id, at: time, hold: hold)
    }

    package init(
        _ envelope: Envelope,
        _ content: Content.Body,
        from provenance: Provenance,
        id: QueueID? = nil,
        at time: Timestamp = .now(),
        hold: Hold? = nil
    ) {
        self.envelope = envelope
        self.content = content
        self.provenance = provenance
        self.id = id
        self.time = time
        self.hold = hold
    }

    /// The document's `send_email(from, to, contents)`.
    ///
    /// - Parameters:
    ///   - to: at least one.
    ///   - contents: header and body; lines end as ``LineEnds`` says.
    package init(from sender: ReversePath, to: [EmailAddress], contents: [UInt8]) {
        var isASCII = to.allSatisfy(\.isASCII)
        if case .address(let address) = sender { isASCII = isASCII && address.isASCII }
        let envelope = Envelope(
            sender: sender,
            recipients: to.map { Recipient($0) },
            isEightBit: contents.contains { $0 > 127 },
            needsUTF8: !isASCII
        )
        // What no message may hold stays in it, and is refused as it would be by SMTP.
        let content = (try? LineEnds.crlf(contents)) ?? ByteBuffer(bytes: contents)
        self.init(envelope, content, from: Provenance(.inside))
    }
}

extension Intake {
    /// Octets that are looked at where the caller stands; more is the business of a disk thread.
    private static let quick = 64 << 10

    /// Takes a message in.
    ///
    /// - Parameters:
    ///   - submission: Message-ID and Date are added where missing.
    ///   - loop: where its way in is gone, and blocking work reports back to.
    /// - Returns: the answer, once the message is durable or is not going to be.
    package func submit(_ submission: Submission, on loop: any EventLoop) async -> Admission {
        let admission: Admission
        let rules = IntakeRules(settings.current)
        switch await look(at: submission, rules, on: loop) {
        case .failure(let refusal):
            if case .file(let file) = submission.content { queue.disk.submit { _ in file.discard() } }
            admission = .refused(refusal)
        case .success(let message):
            let passesPlugins = !PluginChain.isAsking
            admission = await withCheckedContinuation { continuation in
                loop.execute {
                    let reception = Reception(self, rules, on: loop)
                    reception.take(message, submission, passesPlugins: passesPlugins, for: Waiter(continuation))
                }
            }
        }
        if case .refused(let refusal) = admission {
            IntakeMetrics.count(refusal.reason, at: submission.provenance.entrance)
        }
        return admission
    }

    private func look(
        at submission: Submission,
        _ rules: IntakeRules,
        on loop: any EventLoop
    ) async -> Result<LookedAt, Refusal> {
        guard !submission.envelope.recipients.isEmpty else { return .failure(Refusal(.noRecipients)) }
        if let refusal = refusal(of: submission) { return .failure(refusal) }
        // A report takes the room of what it reports, and mail must be able to leave a full disk.
        guard submission.provenance.about != nil || queue.hasRoom(for: submission.content.size) else {
            return .failure(Refusal(.noRoom))
        }
        let editing = rules.editing(of: submission)
        if case .memory(let bytes) = submission.content, bytes.readableBytes <= Self.quick {
            return LookedAt.make(bytes, rules, editing)
        }
        let made = queue.disk.runIfActive(eventLoop: loop) {
            switch submission.content {
            case .memory(let bytes): LookedAt.make(bytes, rules, editing)
            case .file(let file): LookedAt.make(file, rules)
            }
        }
        return (try? await made.get()) ?? .failure(Refusal(.closing))
    }
}

/// Content that was looked at as a whole.
struct LookedAt: Sendable {
    let body: Content.Body
    let traits: ContentTraits
    let header: HeaderBlock
    let signature: DKIMWork?
    /// What was put right in its header.
    var mending = Mending()
    /// What its header says of its kind.
    var tag: String?
    /// What its copy for an archive tells of its header.
    var glance = JournalReport.Glance()

    /// Checks, scans and hashes content; takes as long as that does.
    ///
    /// - Parameter editing: what the header goes through.
    static func make(
        _ content: ByteBuffer,
        _ rules: IntakeRules,
        _ editing: HeaderEditing = HeaderEditing(),
        by login: Login? = nil
    ) -> Result<LookedAt, Refusal> {
        var (input, body) = (content, ByteBufferAllocator().buffer(capacity: content.readableBytes + 2))
        var check = ChunkDecoder()
        check.begin(input.readableBytes)
        _ = check.decode(&input, into: &body)
        check.finish(&body)
        guard check.isClean else { return .failure(Refusal(.bareLineEnding)) }
        var header = HeaderBlock(limit: rules.headerBytes, watching: rules.tagHeader)
        header.consume(body, from: 0)
        if let rejection = rules.rejection(of: header) { return .failure(Refusal(rejection)) }
        let tag = rules.tag(of: body, header)
        var mending = Mending()
        let edited = editing.edit(&body, header)
        let glance = rules.archive.isEmpty ? JournalReport.Glance() : JournalReport.Glance(of: body, edited, header)
        if let edited {
            (header, mending) = (HeaderBlock(limit: rules.headerBytes), edited.did)
            header.consume(body, from: 0)
            if let rejection = rules.rejection(of: header) { return .failure(Refusal(rejection)) }
        }
        let dkim = rules.newSignature(by: login)
        dkim?.update(body, from: 0, header)
        return .success(
            LookedAt(
                body: .memory(body),
                traits: ContentTraits(hasLeadingDots: check.hasLeadingDots, isEightBit: check.isEightBit),
                header: header,
                signature: dkim?.complete(),
                mending: mending,
                tag: tag,
                glance: glance
            )
        )
    }
}

extension LookedAt {
    /// Octets that are read at once.
    private static let piece = 256 << 10

    /// The same for a finished file, a piece at a time; its last line is ended already.
    ///
    /// Blocks.
    static func make(
        _ file: any LargeBody,
        _ rules: IntakeRules,
        by login: Login? = nil
    ) -> Result<LookedAt, Refusal> {
        var check = ChunkDecoder()
        check.discards = true
        check.begin(file.size)
        var header = HeaderBlock(limit: rules.headerBytes, watching: rules.tagHeader)
        var tag: String?
        let dkim = rules.newSignature(by: login)
        var nothing = ByteBuffer()
        while check.remaining > 0 {
            do throws(QueueError) {
                var piece = try file.read(at: check.size, count: Self.piece)
                guard piece.readableBytes > 0 else { return .failure(Refusal(.storageFailed)) }
                if !header.hasEnded {
                    header.consume(piece, from: 0)
                    if check.size == 0 { tag = rules.tag(of: piece, header) }
                }
                dkim?.update(piece, from: 0, header)
                _ = check.decode(&piece, into: &nothing)
            } catch {
                return .failure(Refusal(because: error))
            }
        }
        check.finish(&nothing)
        guard check.isClean else { return .failure(Refusal(.bareLineEnding)) }
        if let rejection = rules.rejection(of: header) { return .failure(Refusal(rejection)) }
        return .success(
            LookedAt(
                body: .file(file),
                traits: ContentTraits(hasLeadingDots: check.hasLeadingDots, isEightBit: check.isEightBit),
                header: header,
                signature: dkim?.complete(),
                tag: tag
            )
        )
    }
}

/// Resumes whoever handed a whole message in.
private final class Waiter: ReceptionOwner {
    private let continuation: CheckedContinuation<Admission, Never>

    init(_ continuation: CheckedContinuation<Admission, Never>) { self.continuation = continuation }

    func receptionGoesOn(_ rejection: Rejection?) {
        // A whole message is spilled in one piece: what is wrong with that is its end.
    }

    func receptionEnded(_ admission: Admission) { continuation.resume(returning: admission) }
}
