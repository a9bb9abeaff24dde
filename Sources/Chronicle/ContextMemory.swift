// ContextMemory.swift — what is known of messages that are under way, so that their events need no search. A pure value.

import History
import Mail

/// Contexts of recent messages, in two generations: when the younger one is full, the older one is forgotten.
struct ContextMemory {
    private var young: [QueueID: MessageContext] = [:]
    private var old: [QueueID: MessageContext] = [:]
    private var bytes = 0
    private let limit: Int

    /// - Parameter limit: bytes of one generation.
    init(limit: Int) { self.limit = limit }

    subscript(_ id: QueueID) -> MessageContext? { young[id] ?? old[id] }

    mutating func add(_ context: MessageContext) {
        young[context.id] = context
        bytes += context.footprint
        guard bytes > limit else { return }
        old = young
        young = [:]
        bytes = 0
    }

    mutating func forget(_ id: QueueID) {
        if let context = young.removeValue(forKey: id) { bytes = max(0, bytes - context.footprint) }
        old[id] = nil
    }

    mutating func forgetAll() { self = ContextMemory(limit: limit) }
}
