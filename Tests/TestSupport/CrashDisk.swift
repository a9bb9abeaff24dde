// CrashDisk.swift — a memory disk whose machine loses power after a number of system calls.

import Files
import Synchronization

package final class CrashDisk: Sendable {
    private struct Count {
        var calls = 0
        var limit: Int
    }

    private final class Counter: Sendable {
        let count: Mutex<Count>
        init(limit: Int) { count = Mutex(Count(limit: limit)) }
    }

    private let counter: Counter
    package let disk: MemoryDisk

    /// - Parameter limit: calls that still work; every later one fails and changes nothing.
    package init(limit: Int, on earlier: MemoryDisk? = nil) {
        let counter = Counter(limit: limit)
        let intercept: @Sendable (DiskCall) -> DiskError? = { call in
            counter.count.withLock { count in
                guard count.calls < count.limit else { return DiskError(call.name, call.path, MemoryDisk.powerIsGone) }
                count.calls += 1
                return nil
            }
        }
        self.counter = counter
        disk = earlier?.afterKill(intercept: intercept) ?? MemoryDisk(intercept: intercept)
    }

    /// Calls that worked.
    package var calls: Int { counter.count.withLock { $0.calls } }

    /// The power went.
    package var isDown: Bool { counter.count.withLock { $0.calls >= $0.limit } }
}
