// ServerMachine+Transaction.swift — the transaction that is open: from MAIL to the message's last word (RFC 5321 §4.1.4).

import Mail

extension ServerMachine {
    /// What MAIL began.
    struct Transaction {
        let sender: ReversePath
        let parameters: MailParameters
        private(set) var recipients: [Recipient] = []
        /// A message was begun, with DATA or the first chunk.
        private(set) var isBegun = false
        /// The message comes by BDAT.
        private(set) var usesChunks = false
        /// The chunk that is being received is the last one.
        private(set) var isLastChunk = false
        /// Why the message that is being received is not wanted.
        private(set) var objection: Rejection?

        init(sender: ReversePath, parameters: MailParameters) {
            self.sender = sender
            self.parameters = parameters
        }

        mutating func add(_ recipient: Recipient) { recipients.append(recipient) }

        mutating func begin() { isBegun = true }

        mutating func beginChunk(isLast: Bool) {
            usesChunks = true
            isLastChunk = isLast
        }

        /// Notes the first objection; false when there is one already.
        mutating func object(_ objection: Rejection) -> Bool {
            guard self.objection == nil else { return false }
            self.objection = objection
            return true
        }

        /// The envelope of the complete message; no recipients are kept.
        mutating func takeEnvelope(of user: String?) -> Envelope {
            var taken: [Recipient] = []
            swap(&taken, &recipients)
            return Envelope(
                sender: sender,
                recipients: taken,
                isEightBit: parameters.isEightBit,
                needsUTF8: parameters.needsUTF8,
                returns: parameters.returns,
                envelopeID: parameters.envelopeID,
                user: user,
                requiresTLS: parameters.requiresTLS
            )
        }
    }
}
