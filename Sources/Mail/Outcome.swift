// Outcome.swift — what happened to a recipient, and why it failed. Data, never a thrown error.

/// What an attempt came to for one recipient.
package enum Outcome: Hashable, Sendable {
    case delivered(Receipt)
    case deferred(Failure)
    case bounced(Failure)

    /// Why it failed, for good or for now; nil for a delivery.
    package var failure: Failure? {
        switch self {
        case .delivered: nil
        case .deferred(let failure), .bounced(let failure): failure
        }
    }
}

/// Who took the message, and what they said: the parameters of Haraka's `delivered` hook.
package struct Receipt: Hashable, Sendable {
    package let reply: Reply
    /// The name we connected to.
    package let host: String
    package let ip: IPAddress?
    package let port: UInt16
    package let isLMTP: Bool
    /// How the connection was protected; nil for plaintext.
    package let security: ChannelSecurity?
    /// The peer offered DSN and took our parameters, so success reports are its business (RFC 3461 §5.2.2).
    package let relaysDSN: Bool

    package init(
        reply: Reply,
        host: String,
        ip: IPAddress?,
        port: UInt16,
        isLMTP: Bool = false,
        security: ChannelSecurity? = nil,
        relaysDSN: Bool = false
    ) {
        self.reply = reply
        self.host = host
        self.ip = ip
        self.port = port
        self.isLMTP = isLMTP
        self.security = security
        self.relaysDSN = relaysDSN
    }

    /// Haraka's `secured`.
    package var isSecured: Bool { security != nil }
}

/// Why something was not delivered, and how far the trouble reaches.
package struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
    /// Who else is affected by the same trouble.
    package enum Scope: UInt8, Hashable, Sendable {
        case recipient, message, host, destination
    }

    /// How far the attempt had come.
    package enum Stage: UInt8, Hashable, Sendable {
        case route, connect, greeting, hello, tls, auth, mail, recipient, data, body, endOfData
    }

    package let scope: Scope
    package let stage: Stage
    package let reply: Reply
    /// The peer that spoke, as `host[ip]:port`; nil when nobody was reached.
    package let remote: String?
    /// The connection was lost after the final dot and before its reply: the peer may have the message.
    package let mayBeDuplicate: Bool
    /// A reaction made it final: `reaction NAME, limits.ini:12`; nil: it is what the peer said.
    package var reaction: String?

    package init(
        _ scope: Scope,
        at stage: Stage,
        _ reply: Reply,
        remote: String? = nil,
        mayBeDuplicate: Bool = false
    ) {
        self.scope = scope
        self.stage = stage
        self.reply = reply
        self.remote = remote
        self.mayBeDuplicate = mayBeDuplicate
    }

    package var description: String { remote.map { "\(reply) (\(stage), \($0))" } ?? "\(reply) (\(stage))" }
}
