// ObjectReader.swift — an object from outside while its members are taken: typed, with pointers, nothing left over.

/// One thing that is wrong in a value.
package struct JSONIssue: Error, Hashable, Sendable {
    /// A JSON pointer (RFC 6901).
    package let pointer: String
    /// One word for programs, such as `type` or `unknown`.
    package let code: String
    /// What is wrong, for people: the end of a sentence that begins with the pointer.
    package let message: String

    package init(_ pointer: String, _ code: String, _ message: String) {
        self.pointer = pointer
        self.code = code
        self.message = message
    }
}

/// An error that says what is wrong in a value: each room has its own.
package protocol JSONRefusal: Error {
    /// - Parameter issues: one at least.
    init(_ issues: [JSONIssue])
}

extension JSONRefusal {
    /// One wrong thing.
    package init(_ pointer: String, _ code: String, _ message: String) {
        self.init([JSONIssue(pointer, code, message)])
    }
}

/// An object whose members are taken one by one; ``finish()`` refuses those that nobody took.
package struct ObjectReader<Refusal: JSONRefusal> {
    /// A JSON pointer to the object.
    package let pointer: String
    private var members: [JSON.Member]
    private var known: [String] = []

    package init(_ members: [JSON.Member], at pointer: String) {
        self.members = members
        self.pointer = pointer
    }

    /// - Throws: when the value is no object.
    package init(_ value: JSON, at pointer: String) throws(Refusal) {
        guard case .object(let members) = value else {
            throw Refusal(pointer, "type", "must be an object, not \(value.kind)")
        }
        self.init(members, at: pointer)
    }

    /// Names of the members that were not taken.
    package var names: [String] { members.map(\.name) }

    /// The members that were not taken.
    package var rest: [(name: String, value: JSON)] { members.map { ($0.name, $0.value) } }

    /// Whether a member is there and null.
    package func isNull(_ name: String) -> Bool { members.contains { $0.isCalled(name) && $0.value == .null } }

    /// A pointer to a member.
    package func pointer(_ name: String) -> String {
        var path = Array("\(pointer)/".utf8)
        for byte in name.utf8 {
            switch byte {
            case UInt8(ascii: "~"): path += "~0".utf8
            case UInt8(ascii: "/"): path += "~1".utf8
            default: path.append(byte)
            }
        }
        return String(decoding: path, as: UTF8.self)
    }

    /// Takes a member; nil when it is not there.
    package mutating func take(_ name: String) -> JSON? {
        known.append(name)
        guard let index = members.firstIndex(where: { $0.isCalled(name) }) else { return nil }
        return members.remove(at: index).value
    }

    /// Takes a member that answers have and requests may repeat: nothing follows from it, but its type must be right.
    package mutating func passOver(
        _ name: String,
        _ wanted: String,
        _ isRight: (JSON) -> Bool
    ) throws(Refusal) {
        guard let value = take(name), !isRight(value) else { return }
        throw Refusal(pointer(name), "type", "must be \(wanted), not \(value.kind)")
    }

    /// A whole number that is not negative.
    package static func isCount(_ value: JSON) -> Bool {
        if case .integer(let number) = value { number >= 0 } else { false }
    }

    /// Refuses null where a member may only be left out.
    package func refuseNull(_ name: String) throws(Refusal) {
        if isNull(name) { throw Refusal(pointer(name), "type", "cannot be null; leave it out") }
    }

    /// Takes a text; nil when it is missing or null.
    ///
    /// Control characters are refused: these texts end in headers, SMTP commands and INI files.
    package mutating func string(_ name: String, atMost limit: Int = 1024) throws(Refusal) -> String? {
        switch take(name) {
        case nil, .null: return nil
        case .string(let text):
            try Self.check(text, pointer(name), atMost: limit)
            return text
        case let other?: throw Refusal(pointer(name), "type", "must be a string, not \(other.kind)")
        }
    }

    /// Takes a text with whatever characters; nil when it is missing or null.
    package mutating func text(_ name: String) throws(Refusal) -> String? {
        switch take(name) {
        case nil, .null: return nil
        case .string(let text): return text
        case let other?: throw Refusal(pointer(name), "type", "must be a string, not \(other.kind)")
        }
    }

    /// Takes a number, whole or not; nil when it is missing or null.
    package mutating func number(_ name: String) throws(Refusal) -> Double? {
        switch take(name) {
        case nil, .null: return nil
        case let value?:
            guard let number = value.double else {
                throw Refusal(pointer(name), "type", "must be a number, not \(value.kind)")
            }
            return number
        }
    }

    /// Takes a truth; nil when it is missing.
    package mutating func bool(_ name: String) throws(Refusal) -> Bool? {
        switch take(name) {
        case nil: return nil
        case .bool(let value): return value
        case let other?: throw Refusal(pointer(name), "type", "must be true or false, not \(other.kind)")
        }
    }

    /// Takes a whole number; nil when it is missing or null.
    package mutating func integer(_ name: String, _ range: ClosedRange<Int>) throws(Refusal) -> Int? {
        switch take(name) {
        case nil, .null: return nil
        case .integer(let value) where range.contains(Int(value)): return Int(value)
        case .integer, .number:
            throw Refusal(
                pointer(name),
                "range",
                "must be a whole number from \(range.lowerBound) to \(range.upperBound)"
            )
        case let other?: throw Refusal(pointer(name), "type", "must be a whole number, not \(other.kind)")
        }
    }

    /// Takes an object; nil when it is missing or null.
    package mutating func object(_ name: String) throws(Refusal) -> ObjectReader? {
        switch take(name) {
        case nil, .null: return nil
        case let value?: return try ObjectReader(value, at: pointer(name))
        }
    }

    /// Takes an array; nil when it is missing or null.
    package mutating func array(_ name: String, atMost limit: Int = 100_000) throws(Refusal) -> [JSON]? {
        switch take(name) {
        case nil, .null: return nil
        case .array(let values):
            guard values.count <= limit else {
                throw Refusal(pointer(name), "length", "has more than \(limit) elements")
            }
            return values
        case let other?: throw Refusal(pointer(name), "type", "must be an array, not \(other.kind)")
        }
    }

    /// Takes a text, or an array of texts.
    package mutating func strings(_ name: String, atMost limit: Int = 100_000) throws(Refusal) -> [String]? {
        switch take(name) {
        case nil, .null: return nil
        case .string(let text):
            try Self.check(text, pointer(name), atMost: 65_536)
            return [text]
        case .array(let values):
            guard values.count <= limit else {
                throw Refusal(pointer(name), "length", "has more than \(limit) elements")
            }
            var found: [String] = []
            for (index, value) in values.enumerated() {
                guard case .string(let text) = value else {
                    throw Refusal("\(pointer(name))/\(index)", "type", "must be a string, not \(value.kind)")
                }
                try Self.check(text, "\(pointer(name))/\(index)", atMost: 65_536)
                found.append(text)
            }
            return found
        case let other?:
            throw Refusal(pointer(name), "type", "must be a string or an array of strings, not \(other.kind)")
        }
    }

    /// Refuses what is left.
    package func finish() throws(Refusal) {
        guard !members.isEmpty else { return }
        let list = known.joined(separator: ", ")
        let issues = members.prefix(20).map {
            JSONIssue(
                pointer($0.name),
                "unknown",
                list.isEmpty ? "unknown member" : "unknown member; there are \(list)"
            )
        }
        throw Refusal(issues)
    }

    /// Refuses control characters, the line separators of Unicode and texts beyond a length.
    package static func check(_ text: String, _ pointer: String, atMost limit: Int) throws(Refusal) {
        guard text.utf8.count <= limit else {
            throw Refusal(pointer, "length", "is longer than \(limit) bytes")
        }
        let isClean = text.unicodeScalars.allSatisfy {
            $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) && $0.value != 0x2028 && $0.value != 0x2029
        }
        guard isClean else {
            throw Refusal(pointer, "control-character", "holds a control character or a line separator")
        }
    }
}
