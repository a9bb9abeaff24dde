// ServerValue.swift — values on their way to a server, in PostgreSQL's binary forms.

/// A value of a statement.
package enum ServerValue: Hashable, Sendable {
    case number(Int64)
    case text(String)
    case bytes([UInt8])
    /// A `bigint[]`.
    case numbers([Int64])
    /// A `text[]`.
    case texts([String])
    case null

    /// The type's number in every PostgreSQL.
    var type: UInt32 {
        switch self {
        case .number: 20
        case .text: 25
        case .bytes: 17
        case .numbers: 1016
        case .texts: 1009
        case .null: 0
        }
    }

    /// The binary form; nil: NULL.
    var encoded: [UInt8]? {
        switch self {
        case .number(let number): Self.bigEndian(number)
        case .text(let text): Array(text.utf8)
        case .bytes(let bytes): bytes
        case .numbers(let numbers): Self.array(numbers.map { Self.bigEndian($0) }, of: 20)
        case .texts(let texts): Self.array(texts.map { Array($0.utf8) }, of: 25)
        case .null: nil
        }
    }

    private static func bigEndian<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }

    /// Dimensions, nulls, type of the elements; then length and first place of the one dimension; then the elements.
    private static func array(_ elements: [[UInt8]], of type: Int32) -> [UInt8] {
        var bytes: [UInt8] = []
        for word in [Int32(1), 0, type, Int32(clamping: elements.count), 1] { bytes += bigEndian(word) }
        for element in elements {
            bytes += bigEndian(Int32(clamping: element.count))
            bytes += element
        }
        return bytes
    }
}

/// Rows for `COPY … FROM STDIN (FORMAT binary)`.
///
/// A row begins with ``row(_:)`` and has as many fields as that says.
package struct CopyRows: Sendable {
    /// What was added and not taken yet.
    package private(set) var bytes: [UInt8] = []

    /// Begins with the header of the format.
    package init() {
        bytes = Array("PGCOPY\n".utf8) + [0xFF, 0x0D, 0x0A, 0] + [UInt8](repeating: 0, count: 8)
    }

    /// Begins a row of so many fields.
    package mutating func row(_ fields: Int16) { append(fields) }

    /// A `bigint`.
    package mutating func add(_ number: Int64) {
        append(Int32(8))
        append(number)
    }

    /// An `integer`.
    package mutating func add(_ number: Int32) {
        append(Int32(4))
        append(number)
    }

    /// A `smallint`.
    package mutating func add(_ number: Int16) {
        append(Int32(2))
        append(number)
    }

    /// A `bytea` or a `text`, in pieces.
    package mutating func add(_ pieces: UnsafeRawBufferPointer...) {
        append(Int32(truncatingIfNeeded: pieces.reduce(0) { $0 + $1.count }))
        for piece in pieces { bytes.append(contentsOf: piece) }
    }

    /// A `bytea` or a `text`.
    package mutating func add(_ octets: [UInt8]) { octets.withUnsafeBytes { add($0) } }

    /// NULL.
    package mutating func addNull() { append(Int32(-1)) }

    /// What was added since the last time.
    package mutating func take() -> [UInt8] {
        var taken: [UInt8] = []
        swap(&taken, &bytes)
        return taken
    }

    /// Ends the rows.
    package mutating func end() { append(Int16(-1)) }

    private mutating func append<Number: FixedWidthInteger>(_ number: Number) {
        withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) }
    }
}
