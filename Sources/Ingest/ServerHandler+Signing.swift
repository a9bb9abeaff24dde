// ServerHandler+Signing.swift — DKIM at reception: the body is hashed as it comes, and signed when it is complete.
//
// Guarantees: without a domain in `dkim.ini` nothing happens here; signing, which takes a millisecond for an RSA key,
// happens on a thread that may block; a message that cannot be signed is refused for now, not sent unsigned.

import Config
import Log
import Mail
import MessageFormat
import NIOCore
import NIOPosix
import Queue
import SMTP
import Storage

extension ServerHandler {
    /// For a message that begins; nil when nobody's mail is signed.
    func newSignature() -> DKIMDraft? { dkim.domains.isEmpty ? nil : DKIMDraft(keys: dkim.signers) }

    var coverage: DKIMSigner.Coverage { dkim.coverage }

    /// Shows new content to the signer.
    func hashContent() {
        guard let draft, let dkim = draft.dkim else { return }
        dkim.update(body, from: draft.hashed, draft.header)
        self.draft?.hashed = body.readableBytes
    }

    /// Signs on a disk thread, then goes on with the message; nothing is read meanwhile.
    func sign(_ work: DKIMWork, _ body: Content.Body, _ envelope: Envelope, _ prologue: ByteBuffer) {
        guard let context, let id = draft?.id else { return }
        isDiskBusy = true
        let signed = door.queue.disk.runIfActive(eventLoop: context.eventLoop) { try work.signatures() }
        signed.assumeIsolated().whenComplete { result in
            self.isDiskBusy = false
            self.signed(try? result.get(), id, body, envelope, prologue)
            self.resume()
        }
    }

    private func signed(
        _ signatures: [UInt8]?,
        _ id: QueueID,
        _ body: Content.Body,
        _ envelope: Envelope,
        _ prologue: ByteBuffer
    ) {
        guard draft?.id == id else {
            // The message was forgotten meanwhile.
            if case .file(let file) = body { door.queue.disk.submit { _ in file.discard() } }
            return
        }
        guard let signatures else {
            door.log.write(.error, "message not signed") { $0.add(.id, id.description) }
            refuse(.storageFailed)
            return
        }
        var fields = ByteBuffer(bytes: signatures)
        fields.writeImmutableBuffer(prologue)
        accept(body, envelope, fields)
    }
}

extension DKIMSettings {
    /// The keys for an author's domain.
    var signers: DKIMDraft.Keys {
        { author in
            guard let (domain, keys) = self.signing(for: author) else { return [] }
            return keys.map { DKIMSigner(domain: domain, selector: $0.selector, key: $0.key) }
        }
    }

    var coverage: DKIMSigner.Coverage { DKIMSigner.Coverage(signed: headers, oversigned: oversigned) }
}
