// TokenReply.swift — the answer of a token server (RFC 6749 §5): a flat JSON object, of which few members matter.

/// Strings and numbers of a JSON object's first level (RFC 8259); what is nested is skipped.
struct TokenReply {
    private var strings: [String: String] = [:]
    private var numbers: [String: Double] = [:]

    /// - Returns: nil for anything that is not one JSON object.
    init?(_ body: [UInt8]) {
        var scanner = Scanner(bytes: body[...])
        guard
            scanner.object(take: { name, value in
                switch value {
                case .string(let text): strings[name] = text
                case .number(let number): numbers[name] = number
                case .other: break
                }
            }), scanner.isAtEnd()
        else { return nil }
    }

    subscript(string name: String) -> String? { strings[name] }

    /// A count that some servers write as a number and some as a string.
    subscript(count name: String) -> Int? {
        (numbers[name] ?? strings[name].flatMap { Double($0) }).flatMap { Int(exactly: $0.rounded(.down)) }
    }

    private enum Value {
        case string(String), number(Double), other
    }

    private struct Scanner {
        private static let mostNested = 16
        var bytes: ArraySlice<UInt8>
        private var depth = 0

        init(bytes: ArraySlice<UInt8>) { self.bytes = bytes }

        mutating func isAtEnd() -> Bool {
            skipBlanks()
            return bytes.isEmpty
        }

        mutating func object(take: (String, Value) -> Void) -> Bool {
            guard enter(UInt8(ascii: "{")) else { return false }
            defer { depth -= 1 }
            if eat(UInt8(ascii: "}")) { return true }
            repeat {
                skipBlanks()
                guard let name = string(), eat(UInt8(ascii: ":")), let value = value() else { return false }
                take(name, value)
            } while eat(UInt8(ascii: ","))
            return eat(UInt8(ascii: "}"))
        }

        private mutating func array() -> Bool {
            guard enter(UInt8(ascii: "[")) else { return false }
            defer { depth -= 1 }
            if eat(UInt8(ascii: "]")) { return true }
            repeat { guard value() != nil else { return false } } while eat(UInt8(ascii: ","))
            return eat(UInt8(ascii: "]"))
        }

        private mutating func value() -> Value? {
            skipBlanks()
            switch bytes.first {
            case UInt8(ascii: "\""): return string().map { .string($0) }
            case UInt8(ascii: "{"): return object { _, _ in } ? .other : nil
            case UInt8(ascii: "["): return array() ? .other : nil
            default:
                let word = bytes.prefix {
                    $0 > 0x20 && $0 != UInt8(ascii: ",") && $0 != UInt8(ascii: "}") && $0 != UInt8(ascii: "]")
                }
                bytes = bytes[word.endIndex...]
                let text = String(decoding: word, as: UTF8.self)
                if ["true", "false", "null"].contains(text) { return .other }
                return Double(text).map { .number($0) }
            }
        }

        /// A string without its quotes; escapes are undone, all but the least usual.
        private mutating func string() -> String? {
            guard bytes.popFirst() == UInt8(ascii: "\"") else { return nil }
            var text: [UInt8] = []
            while let byte = bytes.popFirst() {
                switch byte {
                case UInt8(ascii: "\""): return String(validating: text, as: UTF8.self)
                case UInt8(ascii: "\\"):
                    guard let escape = bytes.popFirst() else { return nil }
                    switch escape {
                    case UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"), UInt8(ascii: "b"), UInt8(ascii: "f"):
                        text.append(UInt8(ascii: " "))
                    case UInt8(ascii: "u"):
                        let digits = String(decoding: bytes.prefix(4), as: UTF8.self)
                        bytes = bytes.dropFirst(4)
                        guard digits.utf8.count == 4, let code = UInt32(digits, radix: 16) else { return nil }
                        // Half of a surrogate pair stands in no token.
                        text += Array(String(Character(Unicode.Scalar(code) ?? "?")).utf8)
                    default: text.append(escape)
                    }
                default: text.append(byte)
                }
            }
            return nil
        }

        private mutating func enter(_ byte: UInt8) -> Bool {
            guard depth < Self.mostNested, eat(byte) else { return false }
            depth += 1
            return true
        }

        private mutating func eat(_ byte: UInt8) -> Bool {
            skipBlanks()
            guard bytes.first == byte else { return false }
            bytes.removeFirst()
            return true
        }

        private mutating func skipBlanks() {
            bytes = bytes.drop { $0 == 0x20 || $0 == 0x09 || $0 == 0x0A || $0 == 0x0D }
        }
    }
}
