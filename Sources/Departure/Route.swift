// Route.swift — the hosts of a lane, in the order in which a session tries them.

package import Mail

/// Where a lane's mail goes now.
package struct Route: Hashable, Sendable {
    /// At least one.
    package let hosts: [MX]
    /// An administrator wrote it, so addresses of this machine are meant.
    package let isFromTable: Bool
    /// DNSSEC vouches for the names of the hosts.
    package let isSecure: Bool

    package init(hosts: [MX], isFromTable: Bool, isSecure: Bool = false) {
        self.hosts = hosts
        self.isFromTable = isFromTable
        self.isSecure = isSecure
    }

    /// The same hosts in the order for another session: equal ones take turns by chance.
    package func shared() -> Route {
        var generator = SystemRandomNumberGenerator()
        return Route(hosts: MX.shared(hosts, using: &generator), isFromTable: isFromTable, isSecure: isSecure)
    }

    /// How many other hosts have the priority of one.
    package func equals(of mx: MX) -> Int { max(0, hosts.count { $0.priority == mx.priority } - 1) }
}
