// StepBoard.swift — what sessions do, as they do it, for somebody who looks on: a test whose steps are followed.
//
// Guarantees: while nobody looks on, a step costs one load of a number, and nothing is written; while somebody does, the last
// thousand steps of all lanes are kept, each of bounded size, and so many may look on at once.

package import Mail
import Synchronization

/// The last steps of sessions.
///
/// Safe from any thread.
package final class StepBoard: Sendable {
    /// One of them.
    package struct Step: Hashable, Sendable {
        /// What it is; the raw value is the word of the API.
        package enum Kind: String, Hashable, Sendable {
            /// The hosts of the next hop are found.
            case hosts
            /// A place is asked for a connection.
            case connecting
            /// No session stands at a place, or none was looked for.
            case trouble
            /// A session stands.
            case session
            /// A session has the message, and sends its envelope.
            case offered
            /// The next hop has said what becomes of a recipient.
            case answered
        }

        /// Later steps have greater ones.
        package let number: UInt64
        package let at: Timestamp
        package let kind: Kind
        package let lane: Lane
        /// Whose step it is; nil: it is the lane's.
        package let message: QueueID?
        /// `host[ip]:port`; empty where there is none.
        package let peer: String
        /// Words of ours or of the next hop.
        package let text: String
        /// Milliseconds by stage, where they are known.
        package let milliseconds: [Stage]
    }

    /// How long something took.
    package struct Stage: Hashable, Sendable {
        package let name: String
        /// Milliseconds.
        package let milliseconds: Int64

        package init(_ name: String, _ milliseconds: Int64) {
            (self.name, self.milliseconds) = (name, milliseconds)
        }
    }

    /// Steps kept, and octets of the words of one.
    static let most = 1024
    private static let longest = 1000
    /// Those who may look on at once.
    package static let mostWatchers = 16

    private struct State {
        var steps: [Step] = []
        /// Where the oldest of a full ring lies.
        var next = 0
        var number: UInt64 = 0
    }

    private let watchers = Atomic<Int>(0)
    private let state = Mutex(State())

    package init() {}

    /// Somebody looks on.
    package var isWatched: Bool { watchers.load(ordering: .relaxed) > 0 }

    /// Begins to look on.
    ///
    /// - Returns: the number of the last step so far; nil: too many look on.
    package func watch() -> UInt64? {
        guard watchers.wrappingAdd(1, ordering: .acquiringAndReleasing).oldValue < Self.mostWatchers else {
            watchers.wrappingSubtract(1, ordering: .acquiringAndReleasing)
            return nil
        }
        return state.withLock { $0.number }
    }

    /// Ends what ``watch()`` began.
    package func leave() {
        guard watchers.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 else { return }
        state.withLock { state in
            // Somebody may have come meanwhile.
            if !isWatched { (state.steps, state.next) = ([], 0) }
        }
    }

    /// Something was done; kept only while somebody looks on.
    package func note(
        _ kind: Step.Kind,
        of lane: Lane,
        message: QueueID? = nil,
        peer: @autoclosure () -> String = "",
        text: @autoclosure () -> String = "",
        milliseconds: @autoclosure () -> [Stage] = []
    ) {
        guard isWatched else { return }
        let (peer, text, stages) = (peer(), Self.cut(text()), milliseconds())
        state.withLock { state in
            state.number += 1
            let step = Step(
                number: state.number,
                at: .now(),
                kind: kind,
                lane: lane,
                message: message,
                peer: peer,
                text: text,
                milliseconds: stages
            )
            if state.steps.count < Self.most {
                state.steps.append(step)
            } else {
                state.steps[state.next] = step
                state.next = (state.next + 1) % Self.most
            }
        }
    }

    /// What was done behind a step, in that order.
    package func steps(after number: UInt64) -> [Step] {
        state.withLock { state in
            guard state.number > number else { return [] }
            return (state.steps[state.next...] + state.steps[..<state.next]).filter { $0.number > number }
        }
    }

    private static func cut(_ text: String) -> String {
        text.utf8.count <= longest ? text : String(decoding: text.utf8.prefix(longest), as: UTF8.self)
    }
}
