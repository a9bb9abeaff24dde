// IndexRun.swift — sorted lists of what stands where: small ones are made with every commit and merged to large ones, so that
// finding anything costs a few looks, and writing costs neither a random page nor a second thought. Pure.

import Mail

/// A key and the block that it stands in.
struct IndexEntry: Hashable, Comparable, Sendable {
    let key: UInt64
    /// Number of the block's first event.
    let block: UInt64

    static func < (a: IndexEntry, b: IndexEntry) -> Bool { a.key == b.key ? a.block < b.block : a.key < b.key }
}

extension [IndexEntry] {
    /// Sorted entries, each once.
    var withoutRepetitions: [IndexEntry] {
        var last: IndexEntry?
        return filter { entry in
            defer { last = entry }
            return entry != last
        }
    }
}

/// Sorted entries as bytes, in pieces that are read one by one.
enum IndexRun {
    static let entrySize = 16
    /// Entries of a piece.
    static let pieceCount = 1024
    /// Runs of one size that are merged to one.
    static let width = 8
    /// Entries of a run that is merged no more.
    static let largest = 1 << 20

    /// Runs whose sizes have the same class are merged: 512, 4096, 32768 … entries.
    static func sizeClass(_ count: Int) -> Int {
        var (level, bound) = (0, 512)
        while bound < count {
            bound *= width
            level += 1
        }
        return level
    }

    static func encode(_ entries: ArraySlice<IndexEntry>) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: entries.count * entrySize) { bytes, count in
            let raw = UnsafeMutableRawBufferPointer(bytes)
            for entry in entries {
                raw.storeBytes(of: entry.key.littleEndian, toByteOffset: count, as: UInt64.self)
                raw.storeBytes(of: entry.block.littleEndian, toByteOffset: count + 8, as: UInt64.self)
                count += entrySize
            }
        }
    }

    static func decode(_ bytes: UnsafeRawBufferPointer) -> [IndexEntry] {
        (0..<bytes.count / entrySize).map { entry(bytes, $0) }
    }

    static func entry(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> IndexEntry {
        IndexEntry(
            key: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index * entrySize, as: UInt64.self)),
            block: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index * entrySize + 8, as: UInt64.self))
        )
    }

    /// The blocks of a key in a piece.
    ///
    /// - Returns: whether the next piece may have more of them.
    static func collect(_ key: UInt64, _ bytes: UnsafeRawBufferPointer, into blocks: inout Set<UInt64>) -> Bool {
        let count = bytes.count / entrySize
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if entry(bytes, middle).key < key { low = middle + 1 } else { high = middle }
        }
        while low < count {
            let entry = entry(bytes, low)
            guard entry.key == key else { return false }
            blocks.insert(entry.block)
            low += 1
        }
        return true
    }
}

/// Entries of a run, one after the other, a piece in memory at a time.
struct IndexCursor<Failure: Error> {
    private let read: (Int) throws(Failure) -> [IndexEntry]?
    private var piece: [IndexEntry] = []
    private var number = 0
    private var index = 0

    /// - Parameter read: gives a piece by its number; nil behind the last one.
    init(_ read: @escaping (Int) throws(Failure) -> [IndexEntry]?) throws(Failure) {
        self.read = read
        try load()
    }

    var current: IndexEntry? { index < piece.count ? piece[index] : nil }

    mutating func advance() throws(Failure) {
        index += 1
        if index >= piece.count { try load() }
    }

    private mutating func load() throws(Failure) {
        piece = try read(number) ?? []
        number += 1
        index = 0
    }
}
