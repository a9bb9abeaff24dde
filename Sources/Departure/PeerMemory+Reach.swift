// PeerMemory+Reach.swift — who did not answer a short while ago is tried behind others; lanes that did answer are known at a start.
//
// RFC 5321 §4.5.4.1 wants a list of hosts that cannot be reached. It changes the order and never the outcome: nobody is left out
// for standing on it.

package import Mail
import Synchronization

extension PeerMemory {
    /// A life that is this short is renewed, so that a busy lane is written once in a day: milliseconds.
    private static let renewal: Int64 = 6 * 86_400_000

    /// A session with the lane stands.
    package func answers(_ lane: Lane, at now: Timestamp) {
        let name = lane.description
        if let known = entry(.answers, of: name, at: now), known.until.milliseconds(since: now) > Self.renewal {
            return
        }
        learn(.answers, of: name, at: now)
    }

    /// The lane could not be reached.
    package func isMute(_ lane: Lane) { forget(.answers, of: lane.description) }

    /// Descriptions of the lanes that answered lately.
    package func answering(at now: Timestamp) -> Set<String> {
        state.withLock { state in
            let known = state.known[.answers] ?? [:]
            return Set(known.lazy.filter { Self.isInForce($0.value.until, .answers, at: now) }.map(\.key))
        }
    }

    /// Addresses of a host in the order in which they are tried: those that were silent come last.
    package func inOrder(_ addresses: [IPAddress], of mx: MX, at now: Timestamp) -> [IPAddress] {
        if isEmpty { return addresses }
        let silent = addresses.filter { knows(.silent, of: Departure.peer(mx, $0), at: now) }
        return silent.isEmpty ? addresses : addresses.filter { !silent.contains($0) } + silent
    }

    /// Whether all addresses of a host were silent, so that the hosts behind it are tried first.
    package func isSilent(_ mx: MX, _ addresses: [IPAddress], at now: Timestamp) -> Bool {
        !isEmpty && !addresses.isEmpty
            && addresses.allSatisfy { knows(.silent, of: Departure.peer(mx, $0), at: now) }
    }
}
