// Provenance.swift — where a message comes from, as its first line, the log and the metrics tell it.

package import Config
package import Mail
package import MessageFormat
package import OpenSSL
package import Queue
package import SMTP

/// Who has proved to be somebody, and what that binds its mail to.
package struct Login: Hashable, Sendable {
    package let name: String
    package let constraint: SenderConstraint

    package init(_ name: String, bound constraint: SenderConstraint) {
        self.name = name
        self.constraint = constraint
    }

    /// Whether it may name all these authors; there is one field of them and each can be read, or it may not.
    func mayName(_ authors: Authors) -> Bool {
        guard constraint != .none else { return true }
        guard authors.fieldCount == 1, !authors.mailboxes.isEmpty else { return false }
        return authors.mailboxes.allSatisfy { author in
            author.map { constraint.allows(author: $0.local, at: $0.domain, by: name) } ?? false
        }
    }
}

/// Who hands a message in, and how; one reference for everybody who tells it.
package final class Provenance: Sendable {
    /// A client of SMTP.
    package struct Client: Sendable {
        /// Nil when it could not be told.
        package let address: IPAddress?
        /// The address with brackets (RFC 5321 §4.1.3).
        package let literal: String
        /// What it called itself.
        package let helo: String
        package let with: TraceHeaders.Transport
        /// Version and cipher, in words; nil in the clear.
        package let tls: String?
        /// What it logged in with; nil when it did not.
        package let mechanism: SASLMechanism?
        /// What was put right in its commands and line ends.
        package let mending: Mending
        /// Its port; 0 when that could not be told.
        package var port: UInt16 = 0
        /// Our end of its connection.
        package var here: ListenAddress?
        /// The name of its host, where somebody whom we trust has looked; nil: nobody has.
        package var name: String?
        /// The client before this one, where that is trusted and tells it (XFORWARD): for logs and filters alone.
        package var forwarded: ClientClaim?
        /// What the handshake came to.
        package var security: TLSSummary?

        /// The address that logs name: the client's, or that of the client before it.
        var shownLiteral: String { forwarded?.address.value?.addressLiteral ?? literal }

        package init(
            address: IPAddress?,
            literal: String,
            helo: String,
            with: TraceHeaders.Transport,
            tls: String?,
            mechanism: SASLMechanism? = nil,
            mending: Mending = Mending()
        ) {
            self.address = address
            self.literal = literal
            self.helo = helo
            self.with = with
            self.tls = tls
            self.mechanism = mechanism
            self.mending = mending
        }
    }

    /// What the metrics call the way in.
    package let entrance: Entrance
    /// Nil for the API and for mail that is made inside.
    package let client: Client?
    /// The message that this one, a report of ours, is about.
    package let about: QueueID?
    /// Who hands it in without a session of SMTP: a token of the API, and from where.
    package let caller: Caller?

    /// Somebody that is known otherwise than by a login of SMTP.
    package struct Caller: Sendable {
        /// `token:NAME`.
        package let login: String
        package let address: IPAddress?

        package init(_ login: String, from address: IPAddress?) {
            self.login = login
            self.address = address
        }
    }

    package init(_ entrance: Entrance, client: Client? = nil, about: QueueID? = nil, caller: Caller? = nil) {
        self.entrance = entrance
        self.caller = caller
        self.client = client
        self.about = about
    }
}
