// MilterSettings.swift — `milters.ini`, typed: filters that see mail on its way in, in the order of the file.

package import Mail

/// A section of `milters.ini`: one milter.
package struct MilterSettings: Hashable, Sendable {
    /// Where it listens.
    package enum Place: Hashable, Sendable, CustomStringConvertible {
        /// `inet:host:port`; the host is an address or a name.
        case inet(String, UInt16)
        /// `unix:/path`.
        case unix(String)

        package var description: String {
            switch self {
            case .inet(let host, let port): "inet:\(IPAddress(host)?.bracketed ?? host):\(port)"
            case .unix(let path): "unix:\(path)"
            }
        }
    }

    /// What becomes of mail when it gives no verdict.
    package enum Absence: String, Hashable, Sendable, CaseIterable {
        case accept, tempfail, reject, quarantine
    }

    /// The ways in that it is asked about.
    package enum Way: String, Hashable, Sendable, CaseIterable {
        case smtp, smtps, api
    }

    /// The section's name.
    package let name: String
    /// `socket`.
    package var place = Place.unix("")
    /// `default`.
    package var absence = Absence.tempfail
    /// `ways`: `api` is mail of `sendmail` too, where that uses the API.
    package var ways = Set(Way.allCases)
    /// `clients`: those of SMTP whose mail it sees; nil: everybody's.
    package var clients: ClientChoice?
    /// `except`: those whose mail it does not see all the same.
    package var except = ClientChoice()
    /// `senders`: envelope senders whose mail it sees; nil: everybody's.
    var senders: PatternTable<Bool>?
    /// `recipients`: it sees mail for one of them; nil: for anybody.
    var recipients: PatternTable<Bool>?
    /// `connect_timeout`, seconds.
    package var connectTimeout = 30
    /// `command_timeout`, seconds: for an answer to anything but the message's text and end.
    package var commandTimeout = 30
    /// `content_timeout`, seconds: for an answer to these; a word of progress begins it anew.
    package var contentTimeout = 300
    /// `deadline`, seconds: for one message, whatever it says meanwhile.
    package var deadline = 540
    /// `idle_sessions` that wait for the next message, of one thread.
    package var idleSessions = 10
    /// `breaker_failures` in a row after which it is left alone; 0 never does.
    package var breakerFailures = 5
    /// `breaker_pause`, seconds for which it is.
    package var breakerPause = 30

    package init(name: String) { self.name = name }

    /// Whether it sees a message.
    ///
    /// - Parameters:
    ///   - client: and where it came in, and what there is to come in at; nil for mail that no client of SMTP hands in.
    package func concerns(
        _ envelope: Envelope,
        by way: Way,
        from client: (address: IPAddress?, here: ListenAddress?, listeners: [ListenAddress])?
    ) -> Bool {
        concerns(by: way, from: client) && takes(envelope.sender)
            && (!choosesRecipients || envelope.recipients.contains { takes($0.address) })
    }

    /// Whether it sees mail of a sender.
    package func takes(_ sender: ReversePath) -> Bool { senders.map { $0.find(sender) != nil } ?? true }

    /// Whether it sees mail for a recipient, whoever else gets it.
    package func takes(_ recipient: EmailAddress) -> Bool { recipients.map { $0.find(recipient) != nil } ?? true }

    /// Whom mail is for makes a difference.
    package var choosesRecipients: Bool { recipients != nil }

    /// Whom mail is from and to makes no difference.
    package var seesAllEnvelopes: Bool { senders == nil && recipients == nil }

    /// Whether it sees mail that comes in there, whomever it is from and to.
    package func concerns(
        by way: Way,
        from client: (address: IPAddress?, here: ListenAddress?, listeners: [ListenAddress])?
    ) -> Bool {
        guard ways.contains(way) else { return false }
        if let client {
            func isAmong(_ choice: ClientChoice) -> Bool {
                choice.includes(client.address, at: client.here, among: client.listeners)
            }
            if let clients, !isAmong(clients) { return false }
            if isAmong(except) { return false }
        }
        return true
    }
}
