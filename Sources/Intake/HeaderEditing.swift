// HeaderEditing.swift — a header on its way in: put right, then rewritten, before anything is hashed or signed.
//
// Guarantees: nothing of this happens to mail that nobody has asked it for; a header that was edited has the same limit as
// any other; whom a login may name as author is judged by what its client wrote.

import Config
import Mail
import MessageFormat
import NIOCore
import Queue
import SMTP

/// What a header goes through.
struct HeaderEditing: Sendable {
    /// Puts it right; nil leaves it as it is.
    var mender: HeaderMender?
    /// Rewrites its addresses; nil leaves them as they are.
    var rewriter: HeaderRewriter?

    /// A header that was edited.
    struct Edited {
        var did: Mending
        /// Octets of it now.
        var size: Int
        /// As its writer meant it: put right and not rewritten.
        var written: [UInt8]
    }

    var isEmpty: Bool { mender == nil && rewriter == nil }

    /// Edits the header that a message begins with.
    ///
    /// - Returns: nil when it stays.
    func edit(_ message: inout ByteBuffer, _ block: HeaderBlock) -> Edited? {
        guard !isEmpty, let header = message.getBytes(at: message.readerIndex, length: block.size) else { return nil }
        var (did, written) = (Mending(), header)
        if let mended = mender?.mend(header) { (written, did) = (mended.header, mended.did) }
        var edited = written
        if let rewritten = rewriter?.rewrite(written) {
            edited = rewritten
            did.insert(.rewritten)
        }
        guard !did.isEmpty else { return nil }
        message.replaceHeader(of: header.count, with: edited)
        return Edited(did: did, size: edited.count, written: written)
    }
}

extension JournalReport.Glance {
    /// Reads the header at the front of a message.
    init(of message: ByteBuffer, _ edited: HeaderEditing.Edited?, _ block: HeaderBlock) {
        self.init(of: message.getBytes(at: message.readerIndex, length: edited?.size ?? block.size) ?? [])
    }
}

extension ByteBuffer {
    /// Puts another header in front of the text.
    mutating func replaceHeader(of size: Int, with header: [UInt8]) {
        var whole = ByteBuffer()
        whole.reserveCapacity(readableBytes + header.count - size + 2)
        whole.writeBytes(header)
        moveReaderIndex(forwardBy: size)
        whole.writeBuffer(&self)
        self = whole
    }
}

extension Reception {
    /// Finds out what the header of the message that begins goes through.
    func prepareEditing(by login: Login?) {
        guard let draft else { return }
        draft.login = login
        // The usual case: nothing becomes of any message.
        guard mender != nil || rules.asksForWay else { return }
        var way = way
        way.login = login?.name
        draft.rewriter = rules.rewriting.rewriter(for: way, rules.listeners)
        draft.editing = HeaderEditing(mender: mender, rewriter: draft.rewriter?.header)
        draft.awaitsHeader = !draft.editing.isEmpty || !rules.archive.isEmpty
    }

    /// Edits the header that is at the front of ``body``, once.
    ///
    /// - Returns: why the message is refused; it is forgotten then.
    func editHeader() -> Rejection? {
        guard let draft, draft.awaitsHeader else { return nil }
        self.draft?.awaitsHeader = false
        let edited = draft.editing.edit(&body, draft.header)
        if !rules.archive.isEmpty { self.draft?.glance = JournalReport.Glance(of: body, edited, draft.header) }
        guard let edited else { return nil }
        var header = HeaderBlock(limit: rules.headerBytes)
        header.consume(body, from: 0)
        self.draft?.header = header
        self.draft?.scanned = body.readableBytes
        self.draft?.mending.formUnion(edited.did)
        if edited.did.contains(.rewritten), draft.dkim != nil, let login = draft.login, login.constraint != .none {
            let mayName = login.mayName(Authors(of: edited.written))
            self.draft?.dkim = DKIMDraft(keys: rules.dkim.signers) { _ in mayName }
        }
        guard let rejection = rules.rejection(of: header) else { return nil }
        discard()
        return rejection
    }

    /// The envelope with the addresses that `rewrite.ini` makes of those said.
    func rewritten(_ envelope: Envelope) -> Envelope {
        guard let rewriter = draft?.rewriter else { return envelope }
        var other = envelope
        other.sender = rewriter.rewritten(envelope.sender)
        if let recipients = rewriter.rewritten(envelope.recipients) { other.recipients = recipients }
        guard other != envelope else { return envelope }
        draft?.mending.insert(.rewritten)
        if let kept = rewriter.kept { draft?.added += KeptEnvelope.fields(kept, of: envelope, now: other) }
        return other
    }
}

/// What the envelope said before, as fields.
private enum KeptEnvelope {
    static func fields(_ kept: String, of old: Envelope, now new: Envelope) -> [UInt8] {
        var fields: [UInt8] = []
        func add(_ name: String, _ address: EmailAddress) {
            guard address.isASCII || old.needsUTF8 else { return }
            fields += Array("\(kept)\(name): <\(address)>\r\n".utf8)
        }
        if old.sender != new.sender, case .address(let address) = old.sender { add("Mail-From", address) }
        // Several recipients are nobody's business: one of them may be a secret copy.
        if old.recipients.count == 1, let first = old.recipients.first, first.address != new.recipients.first?.address {
            add("Rcpt-To", first.address)
        }
        return fields
    }
}

extension Rewriter {
    /// What rewrites a header; nil: none is looked at.
    var header: HeaderRewriter? {
        guard looksAtHeader else { return nil }
        return HeaderRewriter(keeping: kept) { [self] address, role in
            let direction: Rewriting.Direction = role == .sender ? .senders : .recipients
            return covers(.header, of: direction) ? rule(for: address, direction)?.rule.replacement : nil
        }
    }
}

extension Submission {
    /// How it comes in.
    var way: WayIn {
        WayIn(provenance.entrance == .api ? .api : .inside, client: envelope.notes.client, login: envelope.user)
    }
}

extension IntakeRules {
    /// What becomes of the addresses of mail that is handed in whole; reports of ours stay as they are.
    func rewriter(for submission: Submission) -> Rewriter? {
        guard submission.provenance.about == nil else { return nil }
        return rewriting.rewriter(for: submission.way, listeners)
    }

    /// What its header goes through.
    func editing(of submission: Submission) -> HeaderEditing {
        HeaderEditing(
            mender: mender(for: submission.provenance),
            rewriter: rewriter(for: submission)?.header
        )
    }
}
