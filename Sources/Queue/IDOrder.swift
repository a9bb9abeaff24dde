// IDOrder.swift — the messages of the index in the order of their ids: finds one by its id, and the next ones behind any id.
//
// Sorted pages of ids and places, twelve bytes for each message. Ids rise, so a new message joins the last page, and what a start
// finds, the newest first, the first one; a page is half full at worst where messages leave by chance. Nobody ever waits for a
// million entries to be moved, and the first page of a listing costs what its rows cost.

import Mail

struct IDOrder: Sendable {
    private static let pageSize = 512

    private struct Page: Sendable {
        var ids = ContiguousArray<UInt64>()
        var slots = ContiguousArray<Slot>()

        init() {
            ids.reserveCapacity(pageSize)
            slots.reserveCapacity(pageSize)
        }

        /// The first place whose id is not below this one.
        func place(of id: UInt64) -> Int {
            var (low, high) = (0, ids.count)
            while low < high {
                let middle = (low + high) / 2
                if ids[middle] < id { low = middle + 1 } else { high = middle }
            }
            return low
        }

        mutating func insert(_ id: UInt64, _ slot: Slot, at place: Int) {
            ids.insert(id, at: place)
            slots.insert(slot, at: place)
        }

        /// Takes the entries from a place on out.
        mutating func split(at place: Int) -> Page {
            var rest = Page()
            rest.ids.append(contentsOf: ids[place...])
            rest.slots.append(contentsOf: slots[place...])
            ids.removeSubrange(place...)
            slots.removeSubrange(place...)
            return rest
        }
    }

    /// In order; none is empty, but the only one.
    private var pages = [Page()]
    /// The first id of each page; of the first one 0, so that every id has a page.
    private var firsts: [UInt64] = [0]
    private(set) var count = 0

    func find(_ id: QueueID) -> Slot? {
        let page = page(of: id.rawValue)
        let place = pages[page].place(of: id.rawValue)
        guard place < pages[page].ids.count, pages[page].ids[place] == id.rawValue else { return nil }
        return pages[page].slots[place]
    }

    /// Adds a message that is not there.
    mutating func insert(_ id: QueueID, at slot: Slot) {
        let id = id.rawValue
        var page = page(of: id)
        count += 1
        if pages[page].ids.count >= Self.pageSize {
            let isBehindAll = page == pages.count - 1 && pages[page].ids.last.map { $0 < id } ?? false
            let isBeforeAll = page == 0 && pages[page].ids.first.map { id < $0 } ?? false
            if isBehindAll {
                open(Page(), from: id, at: page + 1)
                page += 1
            } else if isBeforeAll {
                // What was the first page begins with its own id now.
                firsts[0] = pages[0].ids[0]
                open(Page(), from: 0, at: 0)
            } else {
                let rest = pages[page].split(at: Self.pageSize / 2)
                open(rest, from: rest.ids[0], at: page + 1)
                if id > rest.ids[0] { page += 1 }
            }
        }
        let place = pages[page].place(of: id)
        pages[page].insert(id, slot, at: place)
    }

    /// Removes a message, if it is there.
    mutating func remove(_ id: QueueID) {
        let page = page(of: id.rawValue)
        let place = pages[page].place(of: id.rawValue)
        guard place < pages[page].ids.count, pages[page].ids[place] == id.rawValue else { return }
        pages[page].ids.remove(at: place)
        pages[page].slots.remove(at: place)
        count -= 1
        if pages[page].ids.count < Self.pageSize / 4, pages.count > 1 { merge(page) }
    }

    /// Messages behind an id in the order of their ids, or before it in the other one.
    func slots(behind id: QueueID, descending: Bool = false, atMost limit: Int) -> [Slot] {
        var found: [Slot] = []
        found.reserveCapacity(min(limit, count))
        var page = page(of: id.rawValue)
        var place = pages[page].place(of: id.rawValue)
        if descending {
            while found.count < limit, place > 0 || page > 0 {
                if place == 0 {
                    page -= 1
                    place = pages[page].ids.count
                    continue
                }
                place -= 1
                found.append(pages[page].slots[place])
            }
            return found
        }
        if place < pages[page].ids.count, pages[page].ids[place] == id.rawValue { place += 1 }
        while found.count < limit, page < pages.count {
            if place >= pages[page].ids.count {
                page += 1
                place = 0
                continue
            }
            found.append(pages[page].slots[place])
            place += 1
        }
        return found
    }

    // MARK: - Pages

    /// The page where an id belongs.
    private func page(of id: UInt64) -> Int {
        var (low, high) = (1, firsts.count)
        while low < high {
            let middle = (low + high) / 2
            if firsts[middle] <= id { low = middle + 1 } else { high = middle }
        }
        return low - 1
    }

    private mutating func open(_ page: Page, from first: UInt64, at number: Int) {
        pages.insert(page, at: number)
        firsts.insert(first, at: number)
    }

    /// Puts a page together with a neighbour, where both fit into one with some room left.
    private mutating func merge(_ page: Int) {
        guard !pages[page].ids.isEmpty else {
            pages.remove(at: page)
            firsts.remove(at: page)
            firsts[0] = 0
            return
        }
        let left = page > 0 ? page - 1 : page
        let right = left + 1
        guard right < pages.count, pages[left].ids.count + pages[right].ids.count <= Self.pageSize * 3 / 4 else {
            return
        }
        pages[left].ids.append(contentsOf: pages[right].ids)
        pages[left].slots.append(contentsOf: pages[right].slots)
        pages.remove(at: right)
        firsts.remove(at: right)
    }
}
