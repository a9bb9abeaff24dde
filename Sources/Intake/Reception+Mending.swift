// Reception+Mending.swift — mail of this machine and of old clients on its way in: headers put right before anything is
// hashed or signed, senders and recipients of this machine by their rules.
//
// Guarantees: nothing of this happens to mail that nobody has asked it for; a header that is put right has the same limit
// as any other.

import Mail
import MessageFormat
import NIOCore
import Queue
import SMTP

extension Reception {
    /// Puts the header right that is at the front of ``body``, once.
    ///
    /// - Returns: why the message is refused; it is forgotten then.
    func mendHeader() -> Rejection? {
        guard let draft, let mender = draft.mender else { return nil }
        self.draft?.mender = nil
        guard let did = mender.mend(&body, draft.header) else { return nil }
        var header = HeaderBlock(limit: rules.headerBytes)
        header.consume(body, from: 0)
        self.draft?.header = header
        self.draft?.scanned = body.readableBytes
        self.draft?.mending.formUnion(did)
        guard let rejection = rules.rejection(of: header) else { return nil }
        discard()
        return rejection
    }

    /// The envelope with the recipients that have an alias replaced.
    func redirected(_ envelope: Envelope) -> Envelope {
        guard let recipients = rules.local.redirected(envelope.recipients) else { return envelope }
        var envelope = envelope
        envelope.recipients = recipients
        envelope.needsUTF8 = envelope.needsUTF8 || recipients.contains { !$0.address.isASCII }
        draft?.mending.insert(.alias)
        return envelope
    }

    /// The envelope with the sender that this machine sends as, of mail that did not pass a session of SMTP.
    func localised(_ envelope: Envelope, from provenance: Provenance) -> Envelope {
        guard provenance.entrance == .api else { return envelope }
        let sender = rules.local.sender(of: envelope.sender)
        guard sender != envelope.sender else { return envelope }
        var envelope = envelope
        envelope.sender = sender
        draft?.mending.insert(.sender)
        return envelope
    }
}

extension IntakeRules {
    /// Puts the headers of mail right that was handed in whole: what comes by the API.
    func mender(for provenance: Provenance) -> HeaderMender? {
        provenance.entrance == .api && local.isOn ? HeaderMender(local) : nil
    }
}

extension HeaderMender {
    /// Puts the header right that a message begins with.
    ///
    /// - Returns: what was put right; nil when nothing was wrong.
    func mend(_ message: inout ByteBuffer, _ block: HeaderBlock) -> Mending? {
        guard let header = message.getBytes(at: message.readerIndex, length: block.size), let mended = mend(header)
        else { return nil }
        var whole = ByteBuffer()
        whole.reserveCapacity(message.readableBytes + mended.header.count - header.count + 2)
        whole.writeBytes(mended.header)
        message.moveReaderIndex(forwardBy: header.count)
        whole.writeBuffer(&message)
        message = whole
        return mended.did
    }
}
