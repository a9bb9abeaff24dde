// Limits.swift — sizes that the protocol keeps to (RFC 5321 §4.5.3).

package import Mail

/// What a client may ask of us.
///
/// The minima of RFC 5321 §4.5.3.1 are 512 octets a command line, 100 recipients.
package struct Limits: Hashable, Sendable {
    /// Longest command line in octets, CRLF included.
    package var commandBytes: Int
    /// Largest message in octets, announced as SIZE (RFC 1870).
    package var messageBytes: Int
    /// Recipients of one transaction.
    package var recipients: Int
    /// Refused commands of one session before 421.
    package var errors: Int
    /// Commands that bring no message nearer, between two messages, before 421.
    package var idleCommands: Int
    /// Domains a sender may have; empty: any.
    ///
    /// Reports, which have no sender, always pass.
    package var senderDomains: Set<Domain>
    /// What old clients and scripts get wrong is put right instead of refused: see ``PathMender``, ``LineEndRule``.
    package var isLenient: Bool
    /// Of a client on this machine, or a lenient one: completes addresses without a domain, and says what senders of this
    /// machine send as; nil for everybody else.
    package var local: LocalMail?

    package init(
        commandBytes: Int = 4096,
        messageBytes: Int = 26_214_400,
        recipients: Int = 1000,
        errors: Int = 20,
        idleCommands: Int = 1000,
        senderDomains: Set<Domain> = [],
        isLenient: Bool = false,
        local: LocalMail? = nil
    ) {
        self.commandBytes = commandBytes
        self.messageBytes = messageBytes
        self.recipients = recipients
        self.errors = errors
        self.idleCommands = idleCommands
        self.senderDomains = senderDomains
        self.isLenient = isLenient
        self.local = local
    }

    /// Whether mail from this sender is taken at all.
    func allow(_ sender: ReversePath) -> Bool {
        guard !senderDomains.isEmpty, case .address(let address) = sender else { return true }
        return senderDomains.contains(address.domain)
    }
}
