// Reception+Signing.swift — DKIM on the way in: the body is hashed as it comes, and signed when it is complete.
//
// Guarantees: without a domain in `dkim.ini` nothing happens here; signing, which takes a millisecond for an RSA key,
// happens on a thread that may block; a message that cannot be signed is refused for now, not sent unsigned.

package import Config
import Log
import Mail
package import MessageFormat
import NIOCore
import NIOPosix
import Queue
import SMTP
import Storage

extension Reception {
    /// Shows new content to the signer.
    func hashContent() {
        guard let draft, let dkim = draft.dkim else { return }
        dkim.update(body, from: draft.hashed, draft.header)
        self.draft?.hashed = body.readableBytes
    }

    /// Says why a message is not signed that could be.
    func noteForeignAuthor(_ id: QueueID, _ envelope: Envelope) {
        guard !rules.dkim.domains.isEmpty else { return }
        intake.log.write(.notice, "message not signed, its author is not the login's") { line in
            line.add(.id, id.description)
            if let user = envelope.user { line.add(.user, user) }
        }
    }

    /// Signs on a disk thread, then goes on with the message; nothing is to come meanwhile.
    func sign(_ work: DKIMWork, _ body: Content.Body, _ prologue: ByteBuffer, for owner: any ReceptionOwner) {
        guard let draft else { return }
        let id = draft.id
        phase = .signing
        let (coverage, time) = (rules.dkim.coverage, draft.startedAt)
        let signed = intake.queue.disk.runIfActive(eventLoop: loop) {
            try work.signatures(behind: prologue, coverage, at: time)
        }
        signed.assumeIsolated().whenComplete { result in
            self.signed(try? result.get(), id, body, prologue, for: owner)
        }
    }

    private func signed(
        _ signatures: [UInt8]?,
        _ id: QueueID,
        _ body: Content.Body,
        _ prologue: ByteBuffer,
        for owner: any ReceptionOwner
    ) {
        guard draft?.id == id else {
            // The message was forgotten meanwhile.
            phase = .idle
            if case .file(let file) = body { intake.queue.disk.submit { _ in file.discard() } }
            return owner.receptionGoesOn(nil)
        }
        phase = .receiving
        guard let signatures else {
            intake.log.write(.error, "message not signed") { $0.add(.id, id.description) }
            discard()
            return owner.receptionEnded(.refused(Refusal(.storageFailed)))
        }
        var fields = ByteBuffer(bytes: signatures)
        fields.writeImmutableBuffer(prologue)
        admit(body, fields, for: owner)
        owner.receptionGoesOn(nil)
    }
}

extension IntakeRules {
    /// For a message that begins; nil when nobody's mail is signed, and nobody's authors are looked at.
    func newSignature(by login: Login? = nil) -> DKIMDraft? {
        guard let login, login.constraint != .none else {
            return dkim.domains.isEmpty ? nil : DKIMDraft(keys: dkim.signers)
        }
        guard !dkim.domains.isEmpty || refusesForeignAuthors else { return nil }
        return DKIMDraft(keys: dkim.signers) { login.mayName($0) }
    }
}

extension DKIMSettings {
    /// The keys for an author's domain.
    package var signers: DKIMDraft.Keys {
        { author in
            guard let (domain, keys) = self.signing(for: author) else { return [] }
            return keys.map { DKIMSigner(domain: domain, selector: $0.selector, key: $0.key) }
        }
    }

    /// What a signature covers.
    package var coverage: DKIMSigner.Coverage { DKIMSigner.Coverage(signed: headers, oversigned: oversigned) }
}
