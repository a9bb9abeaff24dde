// ServerMachine+Transaction.swift — the transaction that is open: from MAIL to the message's last word (RFC 5321 §4.1.4).

import Mail

extension ServerMachine {
    /// What MAIL began.
    struct Transaction {
        /// Bytes of an envelope that a session has for nothing, so that ordinary mail asks nobody.
        static let free = 2048
        /// Bytes that are asked for at once.
        static let block = 16 << 10

        let sender: ReversePath
        let parameters: MailParameters
        private(set) var recipients: [Recipient] = []
        /// The first of them, once they were taken.
        private var firstTaken: EmailAddress?
        /// What the recipients take, bytes.
        private var bytes = 0
        /// What they may take, bytes.
        private var granted = Transaction.free
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

        /// The first recipient.
        var first: EmailAddress? { recipients.first?.address ?? firstTaken }

        mutating func add(_ recipient: Recipient) {
            bytes += recipient.footprint
            recipients.append(recipient)
        }

        /// The bytes that must be there before one more recipient may be added; nil when they are.
        func bytesNeeded(with recipient: Recipient) -> Int? {
            let needed = bytes + recipient.footprint
            return needed <= granted ? nil : max(granted == Self.free ? 0 : granted, needed) + Self.block
        }

        /// The bytes are there.
        mutating func grow(for recipient: Recipient) { granted = bytesNeeded(with: recipient) ?? granted }

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
            firstTaken = taken.first?.address
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
