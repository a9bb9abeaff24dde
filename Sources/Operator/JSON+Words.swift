// JSON+Words.swift — answers of the API read, and words of a command line as values.

package import JSON

extension JSON {
    /// Reads an answer of the relay: the whole queue may stand in one.
    ///
    /// - Returns: nil when it is no JSON.
    package init?(_ bytes: [UInt8]) {
        guard let value = try? JSON(parsing: bytes, within: JSONBounds(values: .max, memory: 4 << 30)) else {
            return nil
        }
        self = value
    }

    /// A value of a command line: a number, a truth or a text.
    package init(word: String) {
        switch word {
        case "true": self = .bool(true)
        case "false": self = .bool(false)
        case "null": self = .null
        default: self = Int64(word).map { .integer($0) } ?? .string(word)
        }
    }
}
