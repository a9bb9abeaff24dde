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
    package var dane = DANE.absent
    package var sts = STS.absent
    /// TLS with this host came to nothing a short while ago.
    package var hasFailedRecently = false

    package init() {}
}

/// What follows from the facts.
package enum TLSDecision: Hashable, Sendable {
    /// Connect, with at least this protection.
    ///
    /// - `mayFallBack`: when TLS comes to nothing, the host may be tried again without.
    case connect(TLSLevel, mayFallBack: Bool)
    /// Do not use this host now; the mail waits for the reason given.
    case refuse(String)
}

/// Decides how a host is connected to.
package func decideTLS(_ facts: TLSFacts) -> TLSDecision {
    if facts.level == .off {
        guard facts.demand == nil else { return .refuse("the message demands TLS and its route says tls = off") }
        // Written by hand for this hop; only `implicit_tls` beside it is a contradiction, and TLS is what is spoken there.
        return .connect(facts.isImplicit ? .require : .off, mayFallBack: false)
    }
    // A password is not said in the clear where that can be helped.
    let usual = facts.isEnabled || facts.hasLogin || facts.isImplicit ? TLSLevel.may : .off
    var least = max(facts.level ?? usual, facts.demand ?? .off)
    if least == .off { return .connect(.off, mayFallBack: false) }
    if facts.isImplicit { least = max(least, .require) }
    // `tls = verify` asks for an authority that we trust, and for nothing else.
    if facts.level != .verify {
        switch facts.dane {
        case .failed(let reason): return .refuse("nobody can tell whether the host has TLSA records: \(reason)")
        // DANE wins over MTA-STS (RFC 8461 §2).
        case .usable: return .connect(.dane, mayFallBack: false)
        case .unusable: least = max(least, .require)
        case .absent: break
        }
        if least == .dane { return .refuse("tls = dane, and the host has no TLSA record that can be used") }
    }
    switch facts.sts {
    case .mismatch: return .refuse("the MTA-STS policy of the domain does not name this host")
    case .match: least = max(least, .verify)
    case .absent: break
    }
    let mayFallBack = least == .may && !facts.hasLogin
    if mayFallBack, facts.hasFailedRecently { return .connect(.off, mayFallBack: false) }
    return .connect(least, mayFallBack: mayFallBack)
}
