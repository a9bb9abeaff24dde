// SlotTable.swift — finds a message's place in the index by its id: seven bytes for each message.
//
// A hash table of numbers only; the ids stand in the index itself. It is split, so that one part at a time grows and
// nobody ever waits for a million entries to be moved.

import Mail

struct SlotTable: Sendable {
    private static let shardBits: UInt64 = 8
    /// No message.
    private static let empty = UInt32.max

    private struct Shard: Sendable {
        /// A power of two of places; a message stands at its own or behind it.
        var places: [UInt32] = []
        var count = 0
    }

    private var shards = Array(repeating: Shard(), count: 1 << Int(Self.shardBits))
    private(set) var count = 0

    private static func hash(_ id: QueueID) -> UInt64 {
        // Ids are times and counters: multiplying spreads them over the upper bits.
        let product = id.rawValue &* 0x9E37_79B9_7F4A_7C15
        return product ^ (product >> 29)
    }

    private static func shard(_ hash: UInt64) -> Int { Int(hash >> (64 - shardBits)) }

    private static func start(_ hash: UInt64, _ size: Int) -> Int { Int(truncatingIfNeeded: hash >> 16) & (size - 1) }

    func find(_ id: QueueID, in messages: borrowing HandleTable<Slot, MessageEntry?>) -> Slot? {
        let hash = Self.hash(id)
        let places = shards[Self.shard(hash)].places
        guard !places.isEmpty else { return nil }
        var place = Self.start(hash, places.count)
        while places[place] != Self.empty {
            let slot = Slot(place: Int(places[place]))
            if messages[slot]?.id == id { return slot }
            place = (place + 1) & (places.count - 1)
        }
        return nil
    }

    /// Adds a message that is not in the table; its entry must be in the index.
    mutating func insert(_ id: QueueID, at slot: Slot, in messages: borrowing HandleTable<Slot, MessageEntry?>) {
        let hash = Self.hash(id)
        let number = Self.shard(hash)
        if (shards[number].count + 1) * 4 > shards[number].places.count * 3 { grow(number, messages) }
        Self.put(slot, hash, &shards[number].places)
        shards[number].count += 1
        count += 1
    }

    /// Removes a message whose entry is still in the index.
    mutating func remove(_ id: QueueID, in messages: borrowing HandleTable<Slot, MessageEntry?>) {
        let hash = Self.hash(id)
        let number = Self.shard(hash)
        let size = shards[number].places.count
        guard size > 0 else { return }
        var place = Self.start(hash, size)
        while true {
            let slot = shards[number].places[place]
            if slot == Self.empty { return }
            if messages[Slot(place: Int(slot))]?.id == id { break }
            place = (place + 1) & (size - 1)
        }
        shards[number].count -= 1
        count -= 1
        if shards[number].count == 0 {
            if size > 64 { shards[number].places = [] } else { shards[number].places[place] = Self.empty }
            return
        }
        close(place, of: number, messages)
    }

    /// Moves those behind a gap forward, as far as each may go.
    private mutating func close(_ gap: Int, of number: Int, _ messages: borrowing HandleTable<Slot, MessageEntry?>) {
        let size = shards[number].places.count
        var gap = gap
        var place = gap
        while true {
            place = (place + 1) & (size - 1)
            let slot = shards[number].places[place]
            guard slot != Self.empty, let id = messages[Slot(place: Int(slot))]?.id else { break }
            let own = Self.start(Self.hash(id), size)
            if (place - own) & (size - 1) >= (place - gap) & (size - 1) {
                shards[number].places[gap] = slot
                gap = place
            }
        }
        shards[number].places[gap] = Self.empty
    }

    private mutating func grow(_ number: Int, _ messages: borrowing HandleTable<Slot, MessageEntry?>) {
        let old = shards[number].places
        shards[number].places = Array(repeating: Self.empty, count: max(8, old.count * 2))
        for slot in old where slot != Self.empty {
            let slot = Slot(place: Int(slot))
            guard let id = messages[slot]?.id else { continue }
            Self.put(slot, Self.hash(id), &shards[number].places)
        }
    }

    private static func put(_ slot: Slot, _ hash: UInt64, _ places: inout [UInt32]) {
        var place = start(hash, places.count)
        while places[place] != empty { place = (place + 1) & (places.count - 1) }
        places[place] = UInt32(slot.place)
    }
}
