// MemoryBudget.swift — the bytes of mail that may be in memory at once: drafts being received and bodies not yet sent.

import Synchronization

/// A count with a limit, shared by all loops.
///
/// Whoever reserves must release, on every path.
package final class MemoryBudget: Sendable {
    private let count = Atomic<Int>(0)
    private let limit: Atomic<Int>

    /// - Parameter limit: bytes.
    package init(limit: Int) { self.limit = Atomic(limit) }

    /// Bytes reserved now.
    package var used: Int { count.load(ordering: .relaxed) }

    /// Less than half is reserved: mail that waits may keep its bytes.
    var isRelaxed: Bool { used < limit.load(ordering: .relaxed) / 2 }

    /// Takes bytes if that many are left.
    ///
    /// - Returns: false when the limit would be passed; nothing was taken then.
    package func reserve(_ bytes: Int) -> Bool {
        let (_, now) = count.add(bytes, ordering: .relaxed)
        if now <= limit.load(ordering: .relaxed) { return true }
        count.subtract(bytes, ordering: .relaxed)
        return false
    }

    /// Takes bytes whatever the limit says: for what is in memory already and must be accounted for.
    package func force(_ bytes: Int) { count.add(bytes, ordering: .relaxed) }

    /// Gives reserved bytes back.
    package func release(_ bytes: Int) { count.subtract(bytes, ordering: .relaxed) }

    /// Changes the limit; what is reserved stays.
    package func setLimit(_ bytes: Int) { limit.store(bytes, ordering: .relaxed) }
}
