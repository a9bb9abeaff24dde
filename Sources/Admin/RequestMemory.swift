// RequestMemory.swift — what requests of the API hold in memory, counted in the budget of mail before it is spent.
//
// A body is read into memory, its JSON becomes values, and a message is made of them: each is asked for first. A request
// has a little for nothing, so that settings can be changed and mail be stopped when the budget is used up; beyond that it
// pays out of the API's half of `memory_for_mail`. One request at a time may go beyond, so that a message that is
// larger than the half still gets through: everybody else hears 503 until it is done.
//
// Guarantees: all requests together hold no more than the half, what one request may need, and the little of each
// connection; whatever ends a request gives back what it held.

import JSON
import Mail
package import Queue
import Synchronization

/// The API's part of the memory for mail.
package final class RequestMemory: Sendable {
    private struct State {
        var used = 0
        /// Who may go beyond.
        var large: ObjectIdentifier?
    }

    private let budget: MemoryBudget
    /// Bytes.
    private let share: @Sendable () -> Int
    private let state = Mutex(State())

    package init(_ budget: MemoryBudget, share: @escaping @Sendable () -> Int) {
        self.budget = budget
        self.share = share
    }

    /// Bytes counted now.
    package var used: Int { state.withLock { $0.used } }

    fileprivate func take(_ bytes: Int, for claim: ObjectIdentifier) -> Bool {
        let share = share()
        return state.withLock { state in
            if state.used + bytes > share || !budget.reserve(bytes) {
                guard state.large == nil || state.large == claim else { return false }
                state.large = claim
                budget.force(bytes)
            }
            state.used += bytes
            return true
        }
    }

    fileprivate func give(_ bytes: Int, of claim: ObjectIdentifier, isLast: Bool) {
        budget.release(bytes)
        state.withLock { state in
            state.used -= bytes
            if isLast, state.large == claim { state.large = nil }
        }
    }
}

/// What one request holds.
package final class RequestClaim: JSONPurse {
    /// Bytes that a request may hold without asking.
    static let free = 256 << 10

    private let memory: RequestMemory
    private let held = Mutex(0)

    package init(_ memory: RequestMemory) { self.memory = memory }

    deinit {
        let paid = Self.paid(held.withLock { $0 })
        memory.give(paid, of: ObjectIdentifier(self), isLast: true)
    }

    /// Takes bytes.
    ///
    /// - Returns: false when there are no more; nothing was taken then.
    package func pay(_ bytes: Int) -> Bool {
        held.withLock { held in
            let more = Self.paid(held + bytes) - Self.paid(held)
            guard more == 0 || memory.take(more, for: ObjectIdentifier(self)) else { return false }
            held += bytes
            return true
        }
    }

    /// Gives bytes back before the request ends.
    func giveBack(_ bytes: Int) {
        held.withLock { held in
            let less = Self.paid(held) - Self.paid(held - bytes)
            held -= bytes
            if less > 0 { memory.give(less, of: ObjectIdentifier(self), isLast: false) }
        }
    }

    private static func paid(_ held: Int) -> Int { max(0, held - free) }
}

/// The bytes of a body while they come, and until they are read.
///
/// A reference, so that what was read can be let go while copies of the request are still about.
final class RequestBody: Sendable {
    private let content = Mutex<[UInt8]>([])
    private let claim: RequestClaim?

    init(_ claim: RequestClaim? = nil) { self.claim = claim }

    var bytes: [UInt8] {
        get { content.withLock { $0 } }
        set { content.withLock { $0 = newValue } }
    }

    var isEmpty: Bool { content.withLock { $0.isEmpty } }

    /// Adds a piece.
    ///
    /// - Parameter limit: bytes that the body may have; it never needs room for more.
    /// - Returns: false when there is no memory for it.
    func append(_ piece: UnsafeRawBufferPointer, limit: Int) -> Bool {
        content.withLock { content in
            let needed = content.count + piece.count
            if needed > content.capacity {
                let room = max(needed, min(limit, max(2 * content.capacity, 16 << 10)))
                // While it is copied, both are there.
                guard claim?.pay(room) ?? true else { return false }
                let old = content.capacity
                var larger: [UInt8] = []
                larger.reserveCapacity(room)
                larger += content
                content = larger
                claim?.giveBack(min(old, room))
            }
            content.append(contentsOf: piece)
            return true
        }
    }

    /// The bytes for the last time.
    func take() -> (bytes: [UInt8], release: () -> Void) {
        let bytes = content.withLock { content in
            let bytes = content
            content = []
            return bytes
        }
        let (claim, room) = (claim, bytes.capacity)
        return (bytes, { claim?.giveBack(room) })
    }

    /// Forgets the bytes.
    func drop() { take().release() }
}
