// HookText.swift — words of a plugin made fit for replies, reports and the log.

import Mail

/// What a plugin says may come from anywhere.
enum HookText {
    /// Bytes that are kept.
    private static let most = 400

    /// Printable ASCII in one line: other octets become `?`, and the length is bounded.
    static func harmless(_ text: String) -> String {
        String(
            decoding: text.utf8.prefix(most).map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") },
            as: UTF8.self
        )
    }
}

extension Reply {
    /// A reply that refuses: one of another kind becomes a 550, and its text cannot break the protocol.
    func asRefusal() -> Reply {
        let text = lines.prefix(8).map(HookText.harmless)
        let lines = text.isEmpty ? ["refused"] : Array(text)
        guard (400...599).contains(code) else { return Reply(550, EnhancedStatus(5, 7, 1), lines: lines) }
        let known = status.flatMap { UInt16($0.class) == code / 100 ? $0 : nil }
        return Reply(code, known ?? EnhancedStatus(UInt8(code / 100), 7, 1), lines: lines)
    }
}
