// LastReply.swift — what was last said about a recipient that failed for now; kept with the message.

package import Mail

/// What was last said about a recipient that failed for now.
package struct LastReply: Hashable, Sendable {
    /// The reply in words, code first, printable, at most 200 bytes.
    package let text: String
    package let reason: FailureReason
    /// The peer that spoke, as `host[ip]:port`; empty when nobody was reached.
    package let host: String

    /// - Parameter text: cut to 200 bytes.
    package init(_ text: String, reason: FailureReason = .other, host: String = "") {
        self.text = text.cut(octets: 200)
        self.reason = reason
        self.host = host.cut(octets: 200)
    }

    /// What a failure comes to.
    package init(_ failure: Failure) {
        self.init(failure.reply.description, reason: FailureReason(failure), host: failure.remote ?? "")
    }
}
