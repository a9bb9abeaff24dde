// EntityTags.swift — entity tags and the lists of them in If-Match and If-None-Match (RFC 9110 §8.8.3, §13.1).

import Config

/// Entity tags as header fields carry them.
enum EntityTags {
    /// One of a list.
    struct Tag: Hashable, Sendable {
        /// Not for If-Match, which compares strongly.
        let isWeak: Bool
        /// With its quotes.
        let text: String
    }

    /// Of the content itself.
    static func of(_ bytes: [UInt8]) -> String { quoted(Revision(of: bytes).digest) }

    /// The strong form of a digest.
    static func quoted(_ digest: String) -> String { "\"\(digest)\"" }

    /// The tags of a list; a comma inside quotes belongs to the tag.
    ///
    /// - Returns: nil when it is no list of entity tags.
    static func list(_ text: String) -> [Tag]? {
        var tags: [Tag] = []
        var rest = Array(text.utf8)[...]
        func skip(_ bytes: UInt8...) { rest = rest.drop { bytes.contains($0) } }
        while true {
            // Empty elements are allowed (RFC 9110 §5.6.1).
            skip(0x20, 0x09, UInt8(ascii: ","))
            guard !rest.isEmpty else { return tags.isEmpty ? nil : tags }
            let isWeak = rest.starts(with: "W/".utf8)
            if isWeak { rest = rest.dropFirst(2) }
            guard rest.first == UInt8(ascii: "\""),
                let end = rest.dropFirst().firstIndex(of: UInt8(ascii: "\"")),
                rest[rest.startIndex...end].allSatisfy({ $0 > 0x20 && $0 != 0x7F })
            else { return nil }
            tags.append(Tag(isWeak: isWeak, text: String(decoding: rest[rest.startIndex...end], as: UTF8.self)))
            rest = rest[(end + 1)...]
            skip(0x20, 0x09)
            guard rest.isEmpty || rest.first == UInt8(ascii: ",") else { return nil }
        }
    }

    /// Whether the version that is there is one that If-Match names.
    ///
    /// - Throws: 400 when it is no list of entity tags.
    static func isNamed(_ tag: String, by header: String) throws(Problem) -> Bool {
        guard header != "*" else { return true }
        guard let tags = list(header) else {
            throw Problem(.malformed, "If-Match holds entity tags in quotes, separated by commas, or *")
        }
        return tags.contains { !$0.isWeak && $0.text == tag }
    }
}
