// Guest.swift — a client of SMTP as plugins see it while it is received.

package import Mail

/// Who is at the door, and what was said so far.
package struct Guest: Hashable, Sendable {
    /// nil when it could not be told.
    package let address: IPAddress?
    /// `address:port` of ours that it came in at; nil when that could not be told.
    package let listener: String?
    /// What it called itself; empty before it did.
    package let helo: String
    /// Who has logged in; nil: nobody.
    package let user: String?
    package let isSecure: Bool
    /// The sender that it named; nil before it did.
    package let sender: ReversePath?
    /// The recipient that it names; nil where it names none.
    package let recipient: EmailAddress?

    package init(
        address: IPAddress?,
        listener: String?,
        helo: String,
        user: String?,
        isSecure: Bool,
        sender: ReversePath? = nil,
        recipient: EmailAddress? = nil
    ) {
        self.address = address
        self.listener = listener
        self.helo = helo
        self.user = user
        self.isSecure = isSecure
        self.sender = sender
        self.recipient = recipient
    }
}
