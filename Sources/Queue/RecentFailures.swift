// RecentFailures.swift — who bounced lately, and with which words: for those who ask after a message that has left.
//
// A message that is gone was delivered, or failed, or was removed; the queue forgets it. The last failures are kept, so
// that "gone" need not sound like "delivered". Bounded; bounces are rare, so that nobody else pays for it.

package import Mail
import Synchronization

/// The last recipients that failed for good.
///
/// Safe from any thread.
package final class RecentFailures: Sendable {
    /// One of them.
    package struct Entry: Hashable, Sendable {
        package let message: QueueID
        package let recipient: String
        /// What the next hop said, or what we say in its place.
        package let reply: String
        package let at: Timestamp
    }

    private struct Ring {
        var entries: [Entry] = []
        var next = 0
    }

    private let capacity: Int
    private let ring = Mutex(Ring())

    /// - Parameter capacity: recipients that are kept.
    package init(capacity: Int = 512) { self.capacity = max(1, capacity) }

    /// A recipient failed for good.
    package func note(_ message: QueueID, to recipient: String, _ reply: String, at wall: Timestamp) {
        let entry = Entry(message: message, recipient: recipient, reply: reply, at: wall)
        ring.withLock { ring in
            if ring.entries.count < capacity {
                ring.entries.append(entry)
            } else {
                ring.entries[ring.next] = entry
            }
            ring.next = (ring.next + 1) % capacity
        }
    }

    /// Those of a message, as far as they are kept.
    package func failures(of message: QueueID) -> [Entry] {
        ring.withLock { $0.entries.filter { $0.message == message } }
    }
}
