// Impression.swift — what a next hop looked like to somebody who went there and left before the first MAIL.

package import DNS
package import Mail

/// A host that let us in.
package struct Impression: Hashable, Sendable {
    /// `host[ip]:port`.
    package let peer: String
    /// nil: in the clear.
    package let security: ChannelSecurity?
    /// Why mail would be sent without the login that the route has; nil when it was used, or there is none.
    package let withoutLogin: String?

    /// What found its address; nil when that is not known.
    package var foundBy: NameRule?

    package init(peer: String, security: ChannelSecurity?, withoutLogin: String?) {
        self.peer = peer
        self.security = security
        self.withoutLogin = withoutLogin
    }
}
