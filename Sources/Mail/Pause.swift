// Pause.swift — a scope that somebody stopped: why, who, since and until when. A value.

/// Mail of a scope waits until it is resumed, or until a time; what comes later waits too.
package struct Pause: Hashable, Sendable {
    package let scope: LimitScope
    package let since: Timestamp
    /// When it ends by itself; nil: when somebody resumes it.
    package let until: Timestamp?
    /// In words, printable, at most 200 bytes; empty when none was given.
    package let reason: String
    /// Who did it; empty when nobody knows.
    package let actor: String

    package init(_ scope: LimitScope, since: Timestamp, until: Timestamp? = nil, reason: String, by actor: String) {
        self.scope = scope
        self.since = since
        self.until = until
        self.reason = Self.clean(reason, atMost: 200)
        self.actor = Self.clean(actor, atMost: 100)
    }

    private static func clean(_ text: String, atMost most: Int) -> String {
        let bytes = text.cut(octets: most).utf8.map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: " ") : $0 }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Its name in the API: `domain example.org`, `all`.
    package var id: String { scope.name.isEmpty ? scope.word : "\(scope.word) \(scope.name)" }

    /// Where the reaction stands that made it: `limits.ini:12`; nil for a person's.
    package var origin: String? {
        guard actor.rest(behind: "reaction ") != nil else { return nil }
        return reason.words.first.map { String($0.utf8.last == UInt8(ascii: ":") ? Substring($0.utf8.dropLast()) : $0) }
    }

    /// In a sentence, without its scope.
    package var words: String {
        let who = actor.isEmpty ? "" : " by \(actor)"
        return reason.isEmpty ? "paused\(who)" : "paused\(who): \(reason)"
    }
}
