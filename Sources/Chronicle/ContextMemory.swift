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

    /// Forgets a message.
    ///
    /// - Returns: what was known of it.
    @discardableResult
    mutating func forget(_ id: QueueID) -> MessageContext? {
        guard let context = young.removeValue(forKey: id) else {
            return old.isEmpty ? nil : old.removeValue(forKey: id)
        }
        bytes = max(0, bytes - context.footprint)
        return context
    }

    mutating func forgetAll() { self = ContextMemory(limit: limit) }
}
