// JSON.swift — a JSON value: members in the order in which they were written, whole numbers exact.
//
// A value type of our own, for what FoundationEssentials' coders and jansson cannot tell: a member that comes twice, what a
// text costs before it is spent, a member nobody asked for, and where it stands (the pointer of an error).

/// A JSON value (RFC 8259).
package enum JSON: Hashable, Sendable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([Member])

    /// `"name": value`.
    package struct Member: Hashable, Sendable {
        package let name: String
        package let value: JSON

        package init(_ name: String, _ value: JSON) {
            self.name = name
            self.value = value
        }

        /// Whether this is the member's name, octet for octet (RFC 8259 §8.3).
        func isCalled(_ name: String) -> Bool { self.name.utf8.elementsEqual(name.utf8) }
    }

    /// A number.
    package static func count(_ value: some BinaryInteger) -> JSON { .integer(Int64(clamping: value)) }

    /// A text, or null when there is none.
    package static func optional(_ value: String?) -> JSON { value.map(JSON.string) ?? .null }

    /// An object of pairs; of those with one name the last counts.
    package static func object(of pairs: some Sequence<(String, JSON)>) -> JSON {
        var object: JSON = [:]
        for (name, value) in pairs { object[name] = value }
        return object
    }

    /// A list of texts.
    package static func strings(_ values: some Sequence<String>) -> JSON { .array(values.map(JSON.string)) }

    /// A member of an object; nil for other values and other names.
    ///
    /// A new one stands behind the others; only objects take one.
    package subscript(_ name: String) -> JSON? {
        get {
            guard case .object(let members) = self else { return nil }
            return members.first { $0.isCalled(name) }?.value
        }
        set {
            guard case .object(var members) = self else { return }
            let index = members.firstIndex { $0.isCalled(name) }
            switch (index, newValue) {
            case (let index?, let value?): members[index] = Member(name, value)
            case (let index?, nil): members.remove(at: index)
            case (nil, let value?): members.append(Member(name, value))
            case (nil, nil): break
            }
            self = .object(members)
        }
    }

    /// Whether both mean the same: the order of members does not count, nor whether a whole number has a fraction.
    package func isSame(as other: JSON) -> Bool {
        switch (self, other) {
        case (.object(let a), .object(let b)):
            a.count == b.count && a.allSatisfy { member in other[member.name]?.isSame(as: member.value) ?? false }
        case (.array(let a), .array(let b)): a.count == b.count && zip(a, b).allSatisfy { $0.isSame(as: $1) }
        case (.string(let a), .string(let b)): a.utf8.elementsEqual(b.utf8)
        case (.integer, .number), (.number, .integer): double == other.double
        default: self == other
        }
    }

    /// The elements of an array; none of anything else.
    package var elements: [JSON] {
        guard case .array(let elements) = self else { return [] }
        return elements
    }

    /// The members of an object; none of anything else.
    package var members: [Member] {
        guard case .object(let members) = self else { return [] }
        return members
    }

    /// The text; nil for other kinds.
    package var string: String? {
        guard case .string(let text) = self else { return nil }
        return text
    }

    /// The whole number, also when it is written with a fraction of zero; nil for other kinds.
    package var integer: Int? {
        switch self {
        case .integer(let number): Int(number)
        case .number(let number): Int(exactly: number)
        default: nil
        }
    }

    /// The number; nil for other kinds.
    package var double: Double? {
        switch self {
        case .integer(let number): Double(number)
        case .number(let number): number
        default: nil
        }
    }

    /// The truth; nil for other kinds.
    package var bool: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    /// What kind of value it is, for error texts.
    package var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .integer: "an integer"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral,
    ExpressibleByDictionaryLiteral, ExpressibleByIntegerLiteral, ExpressibleByNilLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(nilLiteral: ()) { self = .null }
    package init(arrayLiteral elements: JSON...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(elements.map { Member($0.0, $0.1) })
    }
}
