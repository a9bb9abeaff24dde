// IDTable.swift — a small number for each of millions of ids, for as long as a log is read: about twenty bytes each.
//
// A hash table of plain numbers, split so that one part at a time grows: no pause, and no moment with twice the memory. The ids
// are ours, so the hash is a multiplication.

/// Numbers by id; every id has one, 0 at first.
struct IDTable: Sendable {
    private static let shardBits: UInt64 = 8

    /// Where the number of an id stands, until the next id is looked for.
    struct Place: Sendable {
        fileprivate let shard: Int
        fileprivate let index: Int
    }

    private struct Shard: Sendable {
        /// A power of two of places, 0 where there is none; an id stands at its own or behind it.
        var ids: [UInt64] = []
        var values: [UInt32] = []
        var count = 0
    }

    private var shards = Array(repeating: Shard(), count: 1 << Int(Self.shardBits))
    /// Of the id that means an empty place: it is never made, but what a file says is not ours to choose.
    private var ofZero: UInt32 = 0

    subscript(place: Place) -> UInt32 {
        get { place.shard < 0 ? ofZero : shards[place.shard].values[place.index] }
        set { if place.shard < 0 { ofZero = newValue } else { shards[place.shard].values[place.index] = newValue } }
    }

    /// The place of an id, made where it is new.
    mutating func place(of id: UInt64) -> Place {
        guard id != 0 else { return Place(shard: -1, index: 0) }
        let hash = Self.hash(id)
        let number = Int(hash >> (64 - Self.shardBits))
        if (shards[number].count + 1) * 4 > shards[number].ids.count * 3 { grow(number) }
        let mask = shards[number].ids.count - 1
        var index = Int(truncatingIfNeeded: hash >> 16) & mask
        while true {
            let found = shards[number].ids[index]
            if found == id { return Place(shard: number, index: index) }
            if found == 0 { break }
            index = (index + 1) & mask
        }
        shards[number].ids[index] = id
        shards[number].count += 1
        return Place(shard: number, index: index)
    }

    private static func hash(_ id: UInt64) -> UInt64 {
        // Ids are times and counters: multiplying spreads them over the upper bits.
        let product = id &* 0x9E37_79B9_7F4A_7C15
        return product ^ (product >> 29)
    }

    private mutating func grow(_ number: Int) {
        let old = shards[number]
        let size = max(8, old.ids.count * 2)
        var new = Shard(
            ids: Array(repeating: 0, count: size),
            values: Array(repeating: 0, count: size),
            count: old.count
        )
        for (place, id) in old.ids.enumerated() where id != 0 {
            var index = Int(truncatingIfNeeded: Self.hash(id) >> 16) & (size - 1)
            while new.ids[index] != 0 { index = (index + 1) & (size - 1) }
            new.ids[index] = id
            new.values[index] = old.values[place]
        }
        shards[number] = new
    }
}
