// FuzzTarget.swift — the parsers that read what others wrote, each with what must hold for any bytes whatever.
//
// One property, two runners: `FuzzTests` replays the corpus with seeded mutations in every test run, and the driver lets
// libFuzzer look for paths that nobody thought of (`Tests/Fuzz/run.sh`).

/// A parser with its property.
package enum FuzzTarget: String, CaseIterable, Sendable {
    case command, reply, dots, chunks, header, address, list, ini, json, routes, record, conversion, report, table

    /// Feeds bytes to the parser.
    ///
    /// - Returns: what is wrong, or nil. A trap is what a fuzzer sees by itself.
    package func flaw(_ bytes: [UInt8]) -> String? {
        switch self {
        case .command: Self.command(bytes)
        case .reply: Self.reply(bytes)
        case .dots: Self.dots(bytes)
        case .chunks: Self.chunks(bytes)
        case .header: Self.header(bytes)
        case .address: Self.address(bytes)
        case .list: Self.list(bytes)
        case .ini: Self.ini(bytes)
        case .json: Self.json(bytes)
        case .routes: Self.routes(bytes)
        case .record: Self.record(bytes)
        case .conversion: Self.conversion(bytes)
        case .report: Self.report(bytes)
        case .table: Self.table(bytes)
        }
    }
}

/// The first octet says how the others are cut: pieces of that length, or none at all for 0.
struct Cut {
    let bytes: ArraySlice<UInt8>
    let length: Int

    init(_ bytes: [UInt8]) {
        length = Int(bytes.first ?? 0)
        self.bytes = bytes.dropFirst()
    }

    /// The pieces, in order; together they are `bytes`.
    var pieces: [ArraySlice<UInt8>] {
        guard length > 0 else { return bytes.isEmpty ? [] : [bytes] }
        return stride(from: bytes.startIndex, to: bytes.endIndex, by: length).map { start in
            bytes[start..<min(bytes.endIndex, start + length)]
        }
    }
}
