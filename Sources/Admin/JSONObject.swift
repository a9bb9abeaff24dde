// JSONObject.swift — the object of a request body while a handler takes its members: typed, with pointers, nothing left over.

/// An object whose members are taken one by one; ``finish()`` refuses those that nobody took.
struct JSONObject {
    /// A JSON pointer to the object.
    let pointer: String
    private var members: [JSON.Member]
    private var known: [String] = []

    init(_ members: [JSON.Member], at pointer: String) {
        self.members = members
        self.pointer = pointer
    }

    /// - Throws: when the value is no object.
    init(_ value: JSON, at pointer: String) throws(Problem) {
        guard case .object(let members) = value else {
            throw Problem.invalid(pointer, "type", "must be an object, not \(value.kind)")
        }
        self.init(members, at: pointer)
    }

    /// Names of the members that were not taken.
    var names: [String] { members.map(\.name) }

    /// Whether a member is there and null.
    func isNull(_ name: String) -> Bool { members.contains { $0.name == name && $0.value == .null } }

    /// A pointer to a member.
    func pointer(_ name: String) -> String {
        let escaped = name.map { $0 == "~" ? "~0" : $0 == "/" ? "~1" : String($0) }.joined()
        return "\(pointer)/\(escaped)"
    }

    /// Takes a member; nil when it is not there.
    mutating func take(_ name: String) -> JSON? {
        known.append(name)
        guard let index = members.firstIndex(where: { $0.name == name }) else { return nil }
        return members.remove(at: index).value
    }

    /// Takes a text; nil when it is missing or null.
    ///
    /// Control characters are refused: these texts end in headers, SMTP commands and INI files.
    mutating func string(_ name: String, atMost limit: Int = 1024) throws(Problem) -> String? {
        switch take(name) {
        case nil, .null: return nil
        case .string(let text):
            try Self.check(text, pointer(name), atMost: limit)
            return text
        case let other?: throw Problem.invalid(pointer(name), "type", "must be a string, not \(other.kind)")
        }
    }

    /// Takes a truth; nil when it is missing.
    mutating func bool(_ name: String) throws(Problem) -> Bool? {
        switch take(name) {
        case nil: return nil
        case .bool(let value): return value
        case let other?: throw Problem.invalid(pointer(name), "type", "must be true or false, not \(other.kind)")
        }
    }

    /// Takes a whole number; nil when it is missing or null.
    mutating func integer(_ name: String, _ range: ClosedRange<Int>) throws(Problem) -> Int? {
        switch take(name) {
        case nil, .null: return nil
        case .integer(let value) where range.contains(Int(value)): return Int(value)
        case .integer, .number:
            throw Problem.invalid(
                pointer(name),
                "range",
                "must be a whole number from \(range.lowerBound) to \(range.upperBound)"
            )
        case let other?: throw Problem.invalid(pointer(name), "type", "must be a whole number, not \(other.kind)")
        }
    }

    /// Takes an object; nil when it is missing or null.
    mutating func object(_ name: String) throws(Problem) -> JSONObject? {
        switch take(name) {
        case nil, .null: return nil
        case let value?: return try JSONObject(value, at: pointer(name))
        }
    }

    /// Takes an array; nil when it is missing or null.
    mutating func array(_ name: String, atMost limit: Int = 100_000) throws(Problem) -> [JSON]? {
        switch take(name) {
        case nil, .null: return nil
        case .array(let values):
            guard values.count <= limit else {
                throw Problem.invalid(pointer(name), "length", "has more than \(limit) elements")
            }
            return values
        case let other?: throw Problem.invalid(pointer(name), "type", "must be an array, not \(other.kind)")
        }
    }

    /// Takes a text, or an array of texts.
    mutating func strings(_ name: String, atMost limit: Int = 100_000) throws(Problem) -> [String]? {
        switch take(name) {
        case nil, .null: return nil
        case .string(let text):
            try Self.check(text, pointer(name), atMost: 65_536)
            return [text]
        case .array(let values):
            guard values.count <= limit else {
                throw Problem.invalid(pointer(name), "length", "has more than \(limit) elements")
            }
            var found: [String] = []
            for (index, value) in values.enumerated() {
                guard case .string(let text) = value else {
                    throw Problem.invalid("\(pointer(name))/\(index)", "type", "must be a string, not \(value.kind)")
                }
                try Self.check(text, "\(pointer(name))/\(index)", atMost: 65_536)
                found.append(text)
            }
            return found
        case let other?:
            throw Problem.invalid(pointer(name), "type", "must be a string or an array of strings, not \(other.kind)")
        }
    }

    /// Refuses what is left.
    func finish() throws(Problem) {
        guard !members.isEmpty else { return }
        let list = known.joined(separator: ", ")
        let issues = members.prefix(20).map {
            Problem.Issue(
                pointer($0.name),
                "unknown",
                list.isEmpty ? "unknown member" : "unknown member; there are \(list)"
            )
        }
        throw Problem(.invalid, "\(issues[0].pointer): \(issues[0].message)", issues: issues)
    }

    /// Refuses control characters, the line separators of Unicode and texts beyond a length.
    static func check(_ text: String, _ pointer: String, atMost limit: Int) throws(Problem) {
        guard text.utf8.count <= limit else {
            throw Problem.invalid(pointer, "length", "is longer than \(limit) bytes")
        }
        let isClean = text.unicodeScalars.allSatisfy {
            $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) && $0.value != 0x2028 && $0.value != 0x2029
        }
        guard isClean else {
            throw Problem.invalid(pointer, "control-character", "holds a control character or a line separator")
        }
    }
}
