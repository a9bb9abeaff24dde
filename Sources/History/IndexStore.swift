// IndexStore.swift — the sorted runs of a partition in the database: added, merged, looked into.

import Database
import Mail

struct IndexStore {
    private let database: Database
    private let part: Int

    init(_ database: Database, _ part: Int) {
        self.database = database
        self.part = part
    }

    private struct Run {
        let number: Int64
        let count: Int
    }

    /// Adds sorted entries as a run, and merges those of one size when there are enough of them.
    func add(_ entries: [IndexEntry]) throws(DatabaseError) {
        guard !entries.isEmpty else { return }
        let newest = try database.statement("SELECT coalesce(max(run), 0) FROM run_\(part)")
        let number = try newest.step() ? newest.integer(0) + 1 : 1
        newest.reset()
        var rest = entries[...]
        try write(number) { () throws(DatabaseError) in
            defer { rest = rest.dropFirst(IndexRun.pieceCount) }
            return rest.prefix(IndexRun.pieceCount)
        }
        while try mergeOnce() {}
    }

    /// - Parameter next: the next piece; empty at the end.
    private func write(_ run: Int64, _ next: () throws(DatabaseError) -> ArraySlice<IndexEntry>) throws(DatabaseError) {
        var lows: [UInt8] = []
        var count = 0
        var number: Int64 = 0
        while true {
            let piece = try next()
            guard let first = piece.first else { break }
            lows.append(number: first.key)
            let statement = try database.statement("INSERT INTO piece_\(part) VALUES(?, ?)")
            statement.bind(1, run << 20 | number)
            statement.bind(2, IndexRun.encode(piece))
            try statement.run()
            number += 1
            count += piece.count
        }
        let statement = try database.statement("INSERT INTO run_\(part) VALUES(?, ?, ?)")
        statement.bind(1, run)
        statement.bind(2, Int64(count))
        statement.bind(3, lows)
        try statement.run()
    }

    private func runs() throws(DatabaseError) -> [Run] {
        let statement = try database.statement("SELECT run, count FROM run_\(part) ORDER BY run")
        var runs: [Run] = []
        while try statement.step() { runs.append(Run(number: statement.integer(0), count: Int(statement.integer(1)))) }
        return runs
    }

    private func mergeOnce() throws(DatabaseError) -> Bool {
        let classes = Dictionary(grouping: try runs().filter { $0.count < IndexRun.largest }) {
            IndexRun.sizeClass($0.count)
        }
        let full = classes.filter { $0.value.count >= IndexRun.width }.min { $0.key < $1.key }
        guard let runs = full?.value, let last = runs.last else { return false }
        var cursors: [IndexCursor<DatabaseError>] = []
        for run in runs {
            cursors.append(
                try IndexCursor { number throws(DatabaseError) in try self.piece(run.number, number, IndexRun.decode) }
            )
        }
        // Its number is free until the others are gone: they are numbered below.
        let target = last.number + 1
        try write(target) { () throws(DatabaseError) in
            var piece: [IndexEntry] = []
            piece.reserveCapacity(IndexRun.pieceCount)
            while piece.count < IndexRun.pieceCount {
                var least: (entry: IndexEntry, cursor: Int)?
                for index in cursors.indices {
                    guard let entry = cursors[index].current else { continue }
                    if let known = least, known.entry < entry { continue }
                    least = (entry, index)
                }
                guard let least else { break }
                piece.append(least.entry)
                try cursors[least.cursor].advance()
            }
            return piece[...]
        }
        for run in runs {
            let pieces = try database.statement("DELETE FROM piece_\(part) WHERE place BETWEEN ? AND ?")
            pieces.bind(1, run.number << 20)
            pieces.bind(2, run.number << 20 | 0xF_FFFF)
            try pieces.run()
            let row = try database.statement("DELETE FROM run_\(part) WHERE run = ?")
            row.bind(1, run.number)
            try row.run()
        }
        return true
    }

    private func piece<Value>(
        _ run: Int64,
        _ number: Int,
        _ read: (UnsafeRawBufferPointer) -> Value
    ) throws(DatabaseError) -> Value? {
        let statement = try database.statement("SELECT body FROM piece_\(part) WHERE place = ?")
        statement.bind(1, run << 20 | Int64(number))
        defer { statement.reset() }
        return try statement.step() ? statement.withBytes(0, read) : nil
    }

    /// The blocks in which a key stands.
    func blocks(of key: UInt64) throws(DatabaseError) -> Set<UInt64> {
        var blocks: Set<UInt64> = []
        let statement = try database.statement("SELECT run, lows FROM run_\(part)")
        var places: [(Int64, Int)] = []
        while try statement.step() {
            let number = statement.integer(0)
            // The last piece that begins below the key may end with it.
            let first = statement.withBytes(1) { lows in
                var (low, high) = (0, lows.count / 8)
                while low < high {
                    let middle = (low + high) / 2
                    let value = UInt64(littleEndian: lows.loadUnaligned(fromByteOffset: middle * 8, as: UInt64.self))
                    if value < key { low = middle + 1 } else { high = middle }
                }
                return max(0, low - 1)
            }
            places.append((number, first))
        }
        for (run, first) in places {
            var number = first
            // A piece that lies wholly below the key says "more may follow".
            while try piece(run, number, { IndexRun.collect(key, $0, into: &blocks) }) ?? false { number += 1 }
        }
        return blocks
    }
}
