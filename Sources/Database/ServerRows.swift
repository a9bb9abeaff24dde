// ServerRows.swift — what a server answered: rows, read where they lie.

import CPQ

/// The rows of one statement.
///
/// `@unchecked Sendable`: a result is not changed once it is there, and libpq reads it from any thread.
package final class ServerRows: @unchecked Sendable {
    private let result: OpaquePointer

    init(_ result: OpaquePointer) { self.result = result }

    deinit { PQclear(result) }

    /// How many there are.
    package var count: Int { Int(PQntuples(result)) }

    /// Whether a field is NULL; rows and columns are numbered from 0 on.
    package func isNull(_ row: Int, _ column: Int32) -> Bool { PQgetisnull(result, Int32(clamping: row), column) == 1 }

    /// A whole number; 0 for what is none.
    package func integer(_ row: Int, _ column: Int32) -> Int64 {
        withBytes(row, column) { bytes in
            guard PQfformat(result, column) == 1 else {
                return Int64(String(decoding: bytes, as: UTF8.self)) ?? 0
            }
            guard let first = bytes.first, bytes.count <= 8 else { return 0 }
            let sign: Int64 = first & 0x80 == 0 ? 0 : -1
            return bytes.reduce(sign) { $0 << 8 | Int64($1) }
        }
    }

    /// A truth value.
    package func truth(_ row: Int, _ column: Int32) -> Bool {
        withBytes(row, column) { $0.first == 1 || $0.first == UInt8(ascii: "t") }
    }

    /// A text; octets that are no UTF-8 are replaced.
    package func text(_ row: Int, _ column: Int32) -> String {
        withBytes(row, column) { String(decoding: $0, as: UTF8.self) }
    }

    /// Octets, of a statement with values.
    package func bytes(_ row: Int, _ column: Int32) -> [UInt8] { withBytes(row, column) { Array($0) } }

    /// Octets where they lie: valid in `body` only.
    package func withBytes<Value>(
        _ row: Int,
        _ column: Int32,
        _ body: (UnsafeRawBufferPointer) -> Value
    ) -> Value {
        let start = PQgetvalue(result, Int32(clamping: row), column)
        let count = Int(PQgetlength(result, Int32(clamping: row), column))
        return body(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count))
    }
}
