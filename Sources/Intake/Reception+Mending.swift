// Reception+Mending.swift — mail of this machine and of old clients on its way in: senders and recipients of this machine
// by their rules. Headers are put right in `HeaderEditing.swift`.
//
// Guarantees: nothing of this happens to mail that nobody has asked it for; a header that is put right has the same limit
// as any other.

import Mail
import MessageFormat
import Queue

extension Reception {
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
