// Route.swift — the hosts of a lane, in the order they are tried.

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
}
