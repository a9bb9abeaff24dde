// RelayPolicy.swift — may this client send through us? Pure; `Tests/Tables/relay_policy.table` shows it.

package import Mail

/// Who may relay.
package enum RelayPolicy {
    /// A client may relay when it has authenticated, or its address lies in one of the networks of `relay_acl_allow`, or it
    /// owns one of the certificates of `relay_acl_certs`.
    ///
    /// - Parameters:
    ///   - client: nil when the address could not be told, which allows nothing.
    ///   - networks: the lines of the file; none allows nobody.
    ///   - isAuthenticated: it has proved to be one of the users that there are now.
    ///   - certificate: SHA-256 of the certificate that the client proved to own; nil for none.
    ///   - certificates: the lines of `relay_acl_certs`.
    package static func mayRelay(
        _ client: IPAddress?,
        networks: [IPNetwork],
        isAuthenticated: Bool = false,
        certificate: [UInt8]? = nil,
        certificates: Set<[UInt8]> = []
    ) -> Bool {
        if isAuthenticated { return true }
        if let certificate, certificates.contains(certificate) { return true }
        guard let client else { return false }
        return networks.contains { $0.contains(client) }
    }
}
