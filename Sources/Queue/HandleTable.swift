// HandleTable.swift — the tables of the index, read by typed handles: a message's place is never taken for a parcel's.

import Mail

/// A place in one of the index's tables; four bytes.
protocol Handle: Hashable, Sendable {
    init(place: Int)
    var place: Int { get }
}

/// Where a message stands.
struct Slot: Handle {
    let number: Int32

    init(place: Int) { number = Int32(place) }

    var place: Int { Int(number) }

    /// No message.
    static let null = Slot(place: -1)
}

/// Where a lane stands.
struct LaneNumber: Handle {
    let number: Int32

    init(place: Int) { number = Int32(place) }

    var place: Int { Int(number) }

    /// No lane.
    static let null = LaneNumber(place: -1)
}

extension Ticket: Handle {
    init(place: Int) { self.init(UInt32(place)) }

    var place: Int { Int(number) }
}

/// Entries by handle; places that were given back are given to others.
struct HandleTable<Key: Handle, Element: Sendable>: Sendable {
    private var entries = PagedTable<Element>()
    private var free = PagedTable<Key>()

    /// Places, those that were given back included.
    var count: Int { entries.count }

    /// Places in use.
    var used: Int { entries.count - free.count }

    subscript(key: Key) -> Element {
        _read { yield entries[key.place] }
        _modify { yield &entries[key.place] }
    }

    /// Enters an element at a place that was given back, or else behind all others.
    mutating func add(_ element: Element) -> Key {
        guard free.count > 0 else {
            entries.append(element)
            return Key(place: entries.count - 1)
        }
        let key = free[free.count - 1]
        free.removeLast()
        entries[key.place] = element
        return key
    }

    /// Makes places up to this one, as far as they are missing.
    mutating func reach(_ key: Key, with element: Element) {
        while entries.count <= key.place { entries.append(element) }
    }

    /// Gives a place back, with what shall stand in it meanwhile.
    mutating func giveBack(_ key: Key, leaving element: Element) {
        entries[key.place] = element
        free.append(key)
    }

    /// Gives a place back; what stands in it stays.
    mutating func giveBack(_ key: Key) { free.append(key) }

    /// All places.
    var keys: some Sequence<Key> { (0..<count).lazy.map { Key(place: $0) } }

    /// The places of some numbers, for a walk in slices.
    func keys(from start: Int, atMost limit: Int) -> [Key] {
        start < count ? (start..<min(start + limit, count)).map { Key(place: $0) } : []
    }
}
