// TokenReply.swift — the answer of a token server (RFC 6749 §5): a flat JSON object, of which few members matter.

import JSON

/// Strings and numbers of a JSON object's first level; what is nested is skipped.
struct TokenReply {
    /// Answers are some kilobytes of a few members: 1 000 values, 1 MiB.
    private static let bounds = JSONBounds(values: 1000, memory: 1 << 20)

    private let object: JSON

    /// - Returns: nil for anything that is not one JSON object.
    init?(_ body: [UInt8]) {
        guard let value = try? JSON(parsing: body, within: Self.bounds), case .object = value else { return nil }
        object = value
    }

    subscript(string name: String) -> String? { object[name]?.string }

    /// A count that some servers write as a number and some as a string.
    subscript(count name: String) -> Int? {
        let value = object[name]
        return (value?.double ?? value?.string.flatMap { Double($0) }).flatMap { Int(exactly: $0.rounded(.down)) }
    }
}
