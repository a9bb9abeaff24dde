// HeldMessages.swift — messages that are held back, and which of them go on by themselves next. A value.
//
// Who asks each second what is due looks at the first one only, however many are held.

import HeapModule
import Mail
import Storage

struct HeldMessages: Sendable {
    private struct End: Comparable, Sendable {
        let at: Timestamp
        let id: QueueID

        static func < (a: End, b: End) -> Bool { a.at == b.at ? a.id < b.id : a.at < b.at }
    }

    private(set) var all: [QueueID: Hold] = [:]
    /// Those that bounce at their end.
    private(set) var dyingCount = 0
    /// An end that is no longer its hold's is stale.
    private var ends = Heap<End>()

    init() {}

    init(_ holds: [QueueID: Hold]) {
        all = holds
        dyingCount = holds.values.count(where: \.isDying)
        ends = Heap(holds.lazy.compactMap { id, hold in hold.until.map { End(at: $0, id: id) } })
    }

    var isEmpty: Bool { all.isEmpty }

    subscript(id: QueueID) -> Hold? {
        get { all[id] }
        set {
            dyingCount += (newValue?.isDying == true ? 1 : 0) - (all[id]?.isDying == true ? 1 : 0)
            if let end = newValue?.until, all[id]?.until != end { ends.insert(End(at: end, id: id)) }
            all[id] = newValue
            // Holds that are changed again and again leave no more behind than there are holds.
            if ends.count > 64 + 2 * all.count { self = HeldMessages(all) }
        }
    }

    /// Those whose time has come; each is told once.
    mutating func takeDue(at wall: Timestamp) -> [QueueID] {
        var due: [QueueID] = []
        while let first = ends.min, first.at <= wall {
            ends.removeMin()
            if all[first.id]?.until == first.at, due.last != first.id { due.append(first.id) }
        }
        return due
    }

    /// It is told again, the next time.
    mutating func tellAgain(_ id: QueueID) {
        if let end = all[id]?.until { ends.insert(End(at: end, id: id)) }
    }
}
