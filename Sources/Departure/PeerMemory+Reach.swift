// PeerMemory+Reach.swift — addresses that did not answer a short while ago: they are tried behind others.
//
// RFC 5321 §4.5.4.1 wants a list of hosts that cannot be reached. It changes the order and never the outcome: nobody is left out
// for standing on it.

package import Mail

extension PeerMemory {
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
