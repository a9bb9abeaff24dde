// TLSPolicy.swift — how well a connection must be protected: pure policy, row by row in `Tests/Tables/tls_policy.table`.
//
// Guarantees: what was demanded, by a route, a message, DANE or MTA-STS, is never given up for a connection that works;
// only TLS that nobody demanded falls back to plaintext (RFC 7435, RFC 7672 §2.2, RFC 8461 §5).

package import Mail

/// What is known of a host before it is connected to.
package struct TLSFacts: Hashable, Sendable {
    /// What DNSSEC says of the host's certificate.
    package enum DANE: Hashable, Sendable {
        /// No TLSA record that DNSSEC vouches for.
        case absent
        /// At least one record that can be used.
        case usable
        /// Records, and none that can be used.
        case unusable
        /// Nobody can tell; in words.
        case failed(String)
    }

    /// What the MTA-STS policy of the domain says of the host.
    package enum STS: Hashable, Sendable {
        /// No policy, or one of mode `none` or `testing`.
        case absent
        /// Mode `enforce`, and the host is named.
        case match
        /// Mode `enforce`, and the host is not named.
        case mismatch
    }

    /// `enable_tls`.
    package var isEnabled = true
    /// `tls` of the route; nil leaves it to `enable_tls`.
    package var level: TLSLevel?
    /// What the message itself demands.
    package var demand: TLSLevel?
    /// `implicit_tls`.
    package var isImplicit = false
    /// There is a password to be said.
    package var hasLogin = false
    /// The host is a Unix socket: nobody listens in on one of this machine.
    package var isSocket = false
    /// Mail is posted there: HTTPS with a verified certificate, whatever is said of SMTP.
    package var isPosted = false
    package var dane = DANE.absent
    package var sts = STS.absent
    /// TLS with this host came to nothing a short while ago, and again after a pause.
    package var hasFailedRecently = false
    /// After TLS had come to nothing, the host refused mail in the clear.
    package var refusesClear = false

    package init() {}
}

/// Who had the last word about a connection's protection.
package enum TLSCause: String, Hashable, Sendable, CaseIterable {
    /// `tls` of the route.
    case route
    /// `enable_tls`.
    case setting = "enable_tls"
    /// A password is to be said.
    case login
    /// `implicit_tls` of the route.
    case implicit = "implicit_tls"
    /// The message: `force_tls` or REQUIRETLS.
    case message
    /// TLSA records of the host.
    case dane
    /// An MTA-STS policy of mode `enforce`.
    case policy = "mta_sts"
    /// An MTA-STS policy of mode `testing`, which demands nothing and is tried first.
    case policyUnderTest = "mta_sts_testing"
    /// The host is a Unix socket.
    case socket
    /// Mail is posted over HTTPS, which has a verified certificate.
    case https
    /// TLS with the host came to nothing a short while ago, or does now.
    case remembered
}

/// What follows from the facts.
package enum TLSDecision: Hashable, Sendable {
    /// Connect, with at least this protection.
    ///
    /// - `mayFallBack`: when TLS comes to nothing here and everywhere else, the host may be tried again without.
    case connect(TLSLevel, mayFallBack: Bool, because: TLSCause)
    /// Do not use this host now; the mail waits for the reason given.
    case refuse(String, because: TLSCause)

    /// Nothing is encrypted, and nothing that could be found out would change that.
    package var isPlain: Bool {
        if case .connect(.off, _, _) = self { true } else { false }
    }
}

/// Decides how a host is connected to.
package func decideTLS(_ facts: TLSFacts) -> TLSDecision {
    if facts.isPosted { return .connect(.off, mayFallBack: false, because: .https) }
    let demand = facts.isSocket ? nil : facts.demand
    if facts.level ?? (facts.isSocket ? .off : .may) == .off {
        guard demand == nil else {
            return .refuse("the message demands TLS and its route says tls = off", because: .route)
        }
        // Written by hand for this hop; only `implicit_tls` beside it is a contradiction, and TLS is what is spoken there.
        return facts.isImplicit
            ? .connect(.require, mayFallBack: false, because: .implicit)
            : .connect(.off, mayFallBack: false, because: facts.level == nil ? .socket : .route)
    }
    var least = LeastTLS(facts)
    if let demand { least.raise(to: demand, because: .message) }
    if least.level == .off { return .connect(.off, mayFallBack: false, because: least.cause) }
    if facts.isImplicit { least.raise(to: .require, because: .implicit) }
    // `tls = verify` asks for an authority that we trust, and for nothing else.
    if facts.level != .verify {
        switch facts.dane {
        case .failed(let reason):
            return .refuse("nobody can tell whether the host has TLSA records: \(reason)", because: .dane)
        // DANE wins over MTA-STS (RFC 8461 §2).
        case .usable:
            least.raise(to: .dane, because: .dane)
            return .connect(.dane, mayFallBack: false, because: least.cause)
        case .unusable: least.raise(to: .require, because: .dane)
        case .absent: break
        }
        if least.level == .dane {
            return .refuse("tls = dane, and the host has no TLSA record that can be used", because: .route)
        }
    }
    switch facts.sts {
    case .mismatch: return .refuse("the MTA-STS policy of the domain does not name this host", because: .policy)
    case .match: least.raise(to: .verify, because: .policy)
    case .absent: break
    }
    let mayFallBack = least.level == .may && !facts.hasLogin && !facts.refusesClear
    if mayFallBack, facts.hasFailedRecently { return .connect(.off, mayFallBack: false, because: .remembered) }
    return .connect(least.level, mayFallBack: mayFallBack, because: least.cause)
}

/// The least protection so far, and who asked for it.
private struct LeastTLS {
    private(set) var level: TLSLevel
    private(set) var cause: TLSCause

    /// What the configuration says by itself.
    init(_ facts: TLSFacts) {
        if let level = facts.level {
            (self.level, cause) = (level, .route)
        } else if facts.isEnabled {
            (level, cause) = (.may, .setting)
        } else if facts.hasLogin {
            // A password is not said in the clear where that can be helped.
            (level, cause) = (.may, .login)
        } else if facts.isImplicit {
            (level, cause) = (.may, .implicit)
        } else {
            (level, cause) = (.off, .setting)
        }
    }

    mutating func raise(to other: TLSLevel, because cause: TLSCause) {
        if other > level { (level, self.cause) = (other, cause) }
    }
}
