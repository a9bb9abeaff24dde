// NewsCount.swift — counts how often a listener was called.

import Synchronization

final class NewsCount: Sendable {
    private let value = Mutex(0)

    func add() { value.withLock { $0 += 1 } }
    var count: Int { value.withLock { $0 } }
}
