// PagedTable.swift — a table that grows by pages: no copying when it grows, no half-empty array when it stops growing.
//
// A million entries in one array mean a pause while a hundred megabytes are copied, and up to twice the memory for good.

/// Entries by number, from 0 on, without gaps.
struct PagedTable<Element: Sendable>: Sendable {
    private static var shift: Int { 9 }
    private static var pageSize: Int { 1 << shift }

    private var pages: [ContiguousArray<Element>] = []
    private(set) var count = 0

    subscript(index: Int) -> Element {
        _read { yield pages[index >> Self.shift][index & (Self.pageSize - 1)] }
        _modify { yield &pages[index >> Self.shift][index & (Self.pageSize - 1)] }
    }

    mutating func append(_ element: Element) {
        if count & (Self.pageSize - 1) == 0 {
            var page = ContiguousArray<Element>()
            page.reserveCapacity(Self.pageSize)
            pages.append(page)
        }
        pages[pages.count - 1].append(element)
        count += 1
    }

    mutating func removeLast() {
        pages[pages.count - 1].removeLast()
        count -= 1
        if count & (Self.pageSize - 1) == 0 { pages.removeLast() }
    }

    /// Gives all memory back.
    mutating func removeAll() {
        pages = []
        count = 0
    }
}
