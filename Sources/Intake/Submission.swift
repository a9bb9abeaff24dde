// Submission.swift — mail that is there as a whole: by the API, the source document's `send_email()`, reports of ours.
// From here on it is a message like one that came in by SMTP.

import Hooks
import Loop
package import Mail
import MessageFormat
package import NIOCore
import NIOPosix
import Queue
import SMTP
package import Storage

/// A message that somebody hands in whole.
package struct Submission: Sendable {
    package var envelope: Envelope
    /// Header and body with CRLF line ends, not dot-stuffed.
    package var content: ByteBuffer
    package var provenance: Provenance
    /// Its name, where it has one already.
    package var id: QueueID?
    /// When it was handed in.
    package var time: Timestamp
    /// What keeps it back once it is queued.
    package var hold: Hold?

    package init(
        _ envelope: Envelope,
        _ content: ByteBuffer,
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
        let admission = await admit(submission, on: loop)
        if case .refused(let refusal) = admission {
            IntakeMetrics.count(refusal.reason, at: submission.provenance.entrance)
        }
        return admission
    }

    private func admit(_ submission: Submission, on loop: any EventLoop) async -> Admission {
        guard !submission.envelope.recipients.isEmpty else { return .refused(Refusal(.noRecipients)) }
        // A report takes the room of what it reports, and mail must be able to leave a full disk.
        guard submission.provenance.about != nil || queue.hasRoom(for: submission.content.readableBytes) else {
            return .refused(Refusal(.noRoom))
        }
        let rules = IntakeRules(settings.current)
        let looked: Result<LookedAt, Refusal>
        if submission.content.readableBytes <= Self.quick {
            looked = LookedAt.make(submission.content, rules)
        } else {
            let made = queue.disk.runIfActive(eventLoop: loop) { LookedAt.make(submission.content, rules) }
            looked = (try? await made.get()) ?? .failure(Refusal(.closing))
        }
        switch looked {
        case .failure(let refusal): return .refused(refusal)
        case .success(let message):
            let passesPlugins = !PluginChain.isAsking
            return await withCheckedContinuation { continuation in
                loop.execute {
                    let reception = Reception(self, rules, on: loop)
                    reception.take(message, submission, passesPlugins: passesPlugins, for: Waiter(continuation))
                }
            }
        }
    }
}

/// Content that was looked at as a whole.
struct LookedAt: Sendable {
    let body: ByteBuffer
    let traits: ContentTraits
    let header: HeaderBlock
    let signature: DKIMWork?

    /// Checks, scans and hashes content; takes as long as that does.
    static func make(_ content: ByteBuffer, _ rules: IntakeRules) -> Result<LookedAt, Refusal> {
        var (input, body) = (content, ByteBufferAllocator().buffer(capacity: content.readableBytes + 2))
        var check = ChunkDecoder()
        check.begin(input.readableBytes)
        _ = check.decode(&input, into: &body)
        check.finish(&body)
        guard check.isClean else { return .failure(Refusal(.bareLineEnding)) }
        var header = HeaderBlock(limit: rules.headerBytes)
        header.consume(body, from: 0)
        if let rejection = rules.rejection(of: header) { return .failure(Refusal(rejection)) }
        let dkim = rules.newSignature()
        dkim?.update(body, from: 0, header)
        return .success(
            LookedAt(
                body: body,
                traits: ContentTraits(hasLeadingDots: check.hasLeadingDots, isEightBit: check.isEightBit),
                header: header,
                signature: dkim?.complete()
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
