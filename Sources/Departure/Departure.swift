// Departure.swift — how a session with one address of one host is opened, decided before the first packet: pure policy, row
// by row in `Tests/Tables/departure.table`.
//
// Delivery executes this value and `explain` prints it: who asks why a mail leaves as it does hears what leaves it so.

package import Config
package import Mail
package import OpenSSL
package import SMTP

/// Everything about a session that is decided before it is opened, each with its because.
package struct Departure: Hashable, Sendable {
    /// Who decided the source address.
    package enum BindCause: Hashable, Sendable {
        /// `bind` of the route.
        case route
        /// The lane's source: a note or `outbound_ip.ini`; see ``Config/Settings/source(for:of:)``.
        case source
        /// Nobody: the operating system chooses.
        case system
    }

    /// Who decided the name of EHLO.
    package enum HeloCause: Hashable, Sendable {
        /// `bind_helo` of the route.
        case route
        /// `outbound_ip.ini` has a name for the address that the route binds.
        case boundAddress
        /// The lane's source has a name.
        case source
        /// `me`.
        case me
    }

    /// One connection with its protection; the next one is for when TLS comes to nothing with this one.
    package struct Try: Hashable, Sendable {
        package let level: TLSLevel
        package let because: TLSCause
        package let need: ClientMachine.TLSNeed
        /// What the certificate must be.
        package let check: PeerCheck
    }

    /// A host that is not used.
    package struct Refused: Hashable, Sendable {
        package let reason: String
        package let because: TLSCause

        /// What reports to the domain call it; nil: it is no matter of the domain's.
        package var fault: TLSFault? {
            switch because {
            case .dane: .dnssecInvalid
            case .policy: .validation
            default: nil
            }
        }
    }

    package let mx: MX
    /// nil: a Unix socket has none.
    package let ip: IPAddress?
    /// Where from; nil leaves it to the operating system.
    package let bind: IPAddress?
    package let bindBecause: BindCause
    /// The name of EHLO or LHLO.
    package let helo: Domain
    package let heloBecause: HeloCause
    /// In order; empty where the host is not used, see ``refusal``, or only as a ``lastResort``.
    package let tries: [Try]
    /// The clear, when TLS came to nothing here and no other host of the route would do either; nil: rather not at all.
    package let lastResort: Try?
    /// Why the host is not used now.
    package let refusal: Refused?
    /// What SNI asks for.
    package let serverName: String
    /// Who vouches for the host's name.
    package let voucher: HostTrust.Voucher?
    /// An MTA-STS policy in force names the host.
    package let isNamedByPolicy: Bool
    /// The password may be said without TLS: it does not leave this machine, or the route says so.
    package let mayLogInUnencrypted: Bool

    /// Decides.
    ///
    /// - Parameters:
    ///   - ip: one address of the host; nil for a Unix socket.
    ///   - mx: the host.
    ///   - lane: what the session is for.
    ///   - trust: what is known of the host.
    ///   - trouble: what is remembered of TLS with this address.
    ///   - settings: those in force.
    package init(
        to ip: IPAddress?,
        of mx: MX,
        in lane: Lane,
        _ trust: HostTrust,
        _ trouble: TLSTrouble?,
        _ settings: Settings
    ) {
        self.mx = mx
        self.ip = ip
        (bind, bindBecause) = Self.bind(mx, lane, ip)
        (helo, heloBecause) = Self.helo(mx, lane, settings)
        var facts = trust.facts
        facts.hasFailedRecently = trouble?.isLasting ?? false
        facts.refusesClear = trouble?.refusesClear ?? false
        let clear = Self.attempt(.off, .remembered, mx, trust)
        switch decideTLS(facts) {
        case .refuse(let reason, let because):
            (tries, lastResort, refusal) = ([], nil, Refused(reason: reason, because: because))
        case .connect(.off, _, .remembered): (tries, lastResort, refusal) = ([], clear, nil)
        case .connect(let level, let mayFallBack, let because):
            tries = Self.tries(level, because, mx, trust)
            lastResort = mayFallBack ? clear : nil
            refusal = nil
        }
        serverName = trust.base?.name ?? mx.exchange
        voucher = trust.voucher
        isNamedByPolicy = trust.facts.sts == .match
        mayLogInUnencrypted = ip?.isLoopback ?? true || mx.tls == .off
    }

    /// The peer as logs and memories name it: `host[ip]:port`, or the path of a socket.
    package static func peer(_ mx: MX, _ ip: IPAddress?) -> String {
        ip.map { "\(mx.exchange)[\($0)]:\(mx.port)" } ?? mx.exchange
    }

    /// What is tried first; nil where the host is not used.
    package var first: Try? { tries.first ?? lastResort }

    /// What follows when TLS comes to nothing with ``first``.
    package var others: [Try] {
        Array(tries.dropFirst()) + (tries.isEmpty ? [] : [lastResort].compactMap(\.self))
    }

    /// The peer as logs and memories name it.
    package var peer: String { Self.peer(mx, ip) }

    /// The mechanisms that may be used, best first: the first one that the host offers is.
    package func mechanisms(_ credentials: Credentials, isEncrypted: Bool) -> [Credentials.Mechanism] {
        credentials.mechanisms.filter { isEncrypted || mayLogInUnencrypted || !$0.needsPrivacy }
    }

    /// What the machine of a session is told.
    package func options(_ attempt: Try, _ login: Login?) -> ClientMachine.Options {
        var options = ClientMachine.Options(
            helo: helo.name,
            isLMTP: mx.usingLMTP,
            host: mx.exchange,
            ip: ip,
            port: mx.port
        )
        options.tls = attempt.need
        // What is posted carries its login itself.
        options.login = mx.api == nil ? login : nil
        options.onAuthUnavailable = mx.onAuthUnavailable
        options.mayLogInUnencrypted = mayLogInUnencrypted
        options.isHostAuthentic = voucher != nil
        return options
    }

    // MARK: rules

    private static func bind(_ mx: MX, _ lane: Lane, _ ip: IPAddress?) -> (IPAddress?, BindCause) {
        guard let ip else { return (nil, .system) }
        if let bind = mx.bind { return (bind, .route) }
        return lane.source?.address(towards: ip).map { ($0, .source) } ?? (nil, .system)
    }

    /// The name goes with the address.
    private static func helo(_ mx: MX, _ lane: Lane, _ settings: Settings) -> (Domain, HeloCause) {
        if let name = mx.bindHelo { return (name, .route) }
        if let bind = mx.bind {
            // Without a name of its own, a bound address says the one that the table knows for it.
            return settings.outboundIPs.name(of: bind).map { ($0, .boundAddress) } ?? (settings.me, .me)
        }
        return lane.source?.helo.map { ($0, .source) } ?? (settings.me, .me)
    }

    private static func tries(_ level: TLSLevel, _ because: TLSCause, _ mx: MX, _ trust: HostTrust) -> [Try] {
        let usual = attempt(level, because, mx, trust)
        // As if the policy were meant, and then as if there were none (RFC 8461 §5).
        guard trust.isUnderTest, level == .may || level == .require else { return [usual] }
        return [attempt(.verify, .policyUnderTest, mx, trust), usual]
    }

    private static func attempt(_ level: TLSLevel, _ because: TLSCause, _ mx: MX, _ trust: HostTrust) -> Try {
        Try(
            level: level,
            because: because,
            need: HostTrust.need(at: level, mx.implicitTLS),
            check: trust.check(at: level, of: mx)
        )
    }
}
