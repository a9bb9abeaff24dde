// Envelope.swift — who a message is from and for, and what was asked about it.

/// The envelope of one transaction.
package struct Envelope: Hashable, Sendable {
    package var sender: ReversePath
    package var recipients: [Recipient]
    /// `BODY=8BITMIME` was given (RFC 6152).
    package var isEightBit: Bool
    /// `SMTPUTF8` was given (RFC 6531).
    package var needsUTF8: Bool
    /// `RET=`; nil when it was not given (RFC 3461 §4.3).
    package var returns: ReturnContent?
    /// `ENVID=` as it came, in xtext; nil when it was not given (RFC 3461 §4.4).
    package var envelopeID: String?
    /// What was noted at reception.
    package var notes: Notes
    /// Who authenticated to hand the message in, as in `auth_flat_file.ini`; nil for anybody else.
    package var user: String?
    /// `REQUIRETLS` was given: every hop is encrypted and verified, or the message comes back (RFC 8689).
    package var requiresTLS: Bool

    package init(
        sender: ReversePath,
        recipients: [Recipient],
        isEightBit: Bool = false,
        needsUTF8: Bool = false,
        returns: ReturnContent? = nil,
        envelopeID: String? = nil,
        notes: Notes = Notes(),
        user: String? = nil,
        requiresTLS: Bool = false
    ) {
        self.sender = sender
        self.recipients = recipients
        self.isEightBit = isEightBit
        self.needsUTF8 = needsUTF8
        self.returns = returns
        self.envelopeID = envelopeID
        self.notes = notes
        self.user = user
        self.requiresTLS = requiresTLS
    }

    /// Bytes that the envelope takes in memory, near enough for a budget.
    package var footprint: Int { recipients.reduce(0) { $0 + $1.footprint } }

    /// Who handed it in: the login of SMTP, or whose token of the API it was; nil for anybody else.
    package var account: String? { user ?? notes.caller }

    /// The least protection that the message itself demands of every next hop.
    package var leastTLS: TLSLevel? {
        if let caller = notes.caller, caller.isSame(octets: Notes.tlsReporter) { return .off }
        return requiresTLS ? .verify : notes.forceTLS ? .require : nil
    }
}

/// How much of the message a failure report brings back (RFC 3461 §4.3).
package enum ReturnContent: UInt8, Hashable, Sendable {
    case full = 1
    case headers = 2
}

/// One recipient with the delivery reports that were asked for.
package struct Recipient: Hashable, Sendable {
    package var address: EmailAddress
    /// `NOTIFY=`; nil when it was not given, which asks for failure and, as we choose, no delay reports.
    package var notify: Notify?
    /// `ORCPT=` as it came, `rfc822;` and xtext; nil when it was not given (RFC 3461 §4.2).
    package var original: String?

    package init(_ address: EmailAddress, notify: Notify? = nil, original: String? = nil) {
        self.address = address
        self.notify = notify
        self.original = original
    }

    /// Bytes that it takes in memory, near enough for a budget: itself, and texts that do not fit into themselves.
    package var footprint: Int {
        // Twice: an array that grows has room for as many again.
        2 * MemoryLayout<Recipient>.stride + Self.heap(address.local) + Self.heap(address.domain.name)
            + (original.map(Self.heap) ?? 0)
    }

    private static func heap(_ text: String) -> Int {
        let count = text.utf8.count
        return count > 15 ? count + 48 : 0
    }

    /// Whether a failure may be reported to the sender.
    package var wantsFailureReport: Bool { notify.map { $0.contains(.failure) } ?? true }
}

/// The conditions of `NOTIFY=`; the empty set is `NEVER` (RFC 3461 §4.1).
package struct Notify: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let success = Notify(rawValue: 1)
    package static let failure = Notify(rawValue: 2)
    package static let delay = Notify(rawValue: 4)
    package static let never: Notify = []
}
