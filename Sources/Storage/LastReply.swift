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
        self.text = Self.cut(text)
        self.reason = reason
        self.host = Self.cut(host)
    }

    /// At most 200 bytes, no letter cut in two.
    private static func cut(_ text: String) -> String {
        guard text.utf8.count > 200 else { return text }
        var end = text.utf8.index(text.startIndex, offsetBy: 200)
        while end > text.startIndex, end.samePosition(in: text.unicodeScalars) == nil {
            end = text.utf8.index(before: end)
        }
        return String(text[..<end])
    }

    /// What a failure comes to.
    package init(_ failure: Failure) {
        self.init(failure.reply.description, reason: FailureReason(failure), host: failure.remote ?? "")
    }
}
