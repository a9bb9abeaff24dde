// LoopGuard.swift — recognises this relay among the hosts of a route: what goes there would only come back.
//
// An address of this machine that the DNS names is a loop unless `local_mx_ok`; one of our own listeners always is, with TLS
// or without, of `smtp.ini` or adopted, whichever address of ours leads to it. RFC 5321 §5.1.

import Config
import Mail

/// What counts as ourselves at one moment.
struct LoopGuard: Sendable {
    /// Addresses of this machine's interfaces.
    let own: Set<IPAddress>
    /// Where we listen.
    let listeners: [ListenAddress]
    /// Our name in EHLO.
    let me: Domain
    /// Addresses of this machine are meant: an administrator wrote the host, or says `local_mx_ok`.
    let mayBeLocal: Bool

    /// - Throws: status 5.4.6 when one of the addresses is this relay.
    func check(_ addresses: [IPAddress], of mx: MX) throws(Failure) {
        if !mayBeLocal, mx.exchange.isSame(octets: me.name) { throw Self.loop("\(mx.exchange) is this relay itself") }
        for ip in addresses {
            if listeners.contains(where: { leads(ip, mx.port, to: $0) }) {
                throw Self.loop("\(mx) is this relay itself")
            }
            if !mayBeLocal, isOurs(ip) { throw Self.loop("\(mx.exchange) is \(ip), this machine") }
        }
    }

    private static func loop(_ reason: String) -> Failure {
        .routing(554, EnhancedStatus(5, 4, 6), "mail would loop: \(reason)")
    }

    private func isOurs(_ ip: IPAddress) -> Bool { ip.isLoopback || ip.isUnspecified || own.contains(ip) }

    /// Whether connecting there reaches a listener of ours.
    private func leads(_ ip: IPAddress, _ port: UInt16, to listener: ListenAddress) -> Bool {
        guard listener.port == port else { return false }
        if listener.ip == ip { return true }
        // A listener on every address (that of IPv6 may take IPv4 too), or a destination that means "here".
        return listener.ip.isUnspecified && isOurs(ip) && (listener.ip.isV6 || !ip.isV6)
            || ip.isUnspecified && isOurs(listener.ip)
    }
}
