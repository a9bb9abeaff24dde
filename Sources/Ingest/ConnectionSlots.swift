// ConnectionSlots.swift — how many clients may be connected at once, in total and of one subscriber.

package import Mail
import Synchronization

/// Counts connections.
///
/// Safe from any thread.
package final class ConnectionSlots: Sendable {
    private struct State {
        var total = 0
        var byClient: [IPAddress: Int] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    /// Connections now.
    package var count: Int { state.withLock { $0.total } }

    /// Takes a slot if there is one; whoever got it gives it back with ``leave(_:)``.
    ///
    /// - Parameters:
    ///   - client: nil is counted in the total only.
    ///   - total: limit of all connections.
    ///   - perClient: limit of the connections of this subscriber: an IPv4 address, or an IPv6 /64.
    package func enter(_ client: IPAddress?, total: Int, perClient: Int) -> Bool {
        state.withLock { state in
            guard state.total < total else { return false }
            if let client = client?.subscriber {
                let own = state.byClient[client, default: 0]
                guard own < perClient else { return false }
                state.byClient[client] = own + 1
            }
            state.total += 1
            return true
        }
    }

    /// Gives a slot back.
    package func leave(_ client: IPAddress?) {
        state.withLock { state in
            state.total -= 1
            guard let client = client?.subscriber, let own = state.byClient[client] else { return }
            state.byClient[client] = own > 1 ? own - 1 : nil
        }
    }
}
