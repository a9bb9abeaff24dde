// TrustFinder.swift — asks around before a host is connected to: TLSA records, MTA-STS policy, access token, TLS that
// came to nothing a moment ago. What it finds is data; `TLSPolicy` decides.

package import Config
package import DNS
package import Loop
package import Mail
package import OpenSSL
package import SMTP
import Synchronization

/// Finds out how far a host can be trusted, and how to prove who we are.
package final class TrustFinder: Sendable {
    /// Hosts whose refusal of a login is remembered.
    private static let mostRefused = 1000

    private struct Kept {
        let authorities: [UInt8]?
        let certificate: CertificatePair?
        let context: TLSContext
    }

    private let resolver: InForce<any Resolver>
    private let settings: InForce<Settings>
    private let policies: STSPolicies?
    private let tokens: TokenSource?
    /// What was learnt of peers and lanes.
    package let memory: PeerMemory
    /// How sessions were protected.
    package let results: TLSResultBook
    private let refused = Mutex(Bounded<MX, Refusal>(atLeast: mostRefused))
    private let kept = Mutex<Kept?>(nil)

    /// - Parameters:
    ///   - resolver: the one in force.
    ///   - settings: those in force.
    ///   - policies: MTA-STS; nil: no domain has a policy.
    ///   - tokens: OAuth; nil: no access tokens are to be had.
    ///   - memory: what was learnt of peers and lanes.
    ///   - results: counts how sessions were protected.
    package init(
        resolver: InForce<any Resolver>,
        settings: InForce<Settings>,
        policies: STSPolicies? = nil,
        tokens: TokenSource? = nil,
        memory: PeerMemory = PeerMemory(),
        results: TLSResultBook = TLSResultBook()
    ) {
        self.resolver = resolver
        self.settings = settings
        self.policies = policies
        self.tokens = tokens
        self.memory = memory
        self.results = results
    }

    /// Everything that is known of a host.
    ///
    /// Asks only what can make a difference: nothing at all where TLS is not wanted.
    ///
    /// - Parameters:
    ///   - addresses: of the host; nil for a Unix socket.
    ///   - isRehearsal: nobody is going there, so nothing is counted and nothing is logged.
    package func trust(
        in mx: MX,
        of route: Route,
        _ lane: Lane,
        _ addresses: Answer<[IPAddress]>?,
        isRehearsal: Bool = false
    ) async -> HostTrust {
        var trust = unasked(mx, of: route, lane)
        // Mail that is to arrive whatever a policy says asks for none (RFC 8460 §3).
        guard !decideTLS(trust.facts).isPlain, !lane.waivesPolicies else { return trust }
        if let addresses, trust.voucher != nil, trust.facts.level != .verify {
            trust.askedForRecords = true
            await findRecords(&trust, mx, route, lane, addresses)
        }
        // Where DANE has spoken, MTA-STS is not asked: it could change nothing.
        let hasSpoken = trust.facts.dane != .absent && trust.facts.dane != .unusable
        if case .domain(let domain) = lane.hop, let policies, domain.literal == nil, !hasSpoken {
            trust.askedForPolicy = true
            let (verdict, policy) = await policies.verdict(on: mx.exchange, of: domain)
            trust.policy = policy
            switch verdict {
            case .absent: break
            case .enforced(let isNamed): trust.facts.sts = isNamed ? .match : .mismatch
            case .testing(isNamed: true): trust.isUnderTest = true
            case .testing(isNamed: false):
                if !isRehearsal { policies.note("the policy does not name this host", about: mx.exchange, of: domain) }
            }
            if trust.facts.sts == .match { trust.voucher = trust.voucher ?? .policy }
        }
        return trust
    }

    /// What is known of a host without asking anybody.
    func unasked(_ mx: MX, of route: Route, _ lane: Lane) -> HostTrust {
        var facts = TLSFacts()
        facts.isEnabled = settings.ask { $0.outbound.isTLSEnabled }
        facts.level = mx.tls
        facts.demand = lane.waivesPolicies ? nil : lane.tls
        facts.isImplicit = mx.implicitTLS
        facts.hasLogin = mx.auth != nil
        facts.isSocket = mx.isSocket
        facts.isPosted = mx.api != nil
        var trust = HostTrust(facts: facts)
        trust.voucher = route.isFromTable ? .route : route.isSecure ? .dnssec : nil
        return trust
    }

    /// RFC 7672 §2.2: only where neither the host's name nor its addresses could have been forged.
    private func findRecords(
        _ trust: inout HostTrust,
        _ mx: MX,
        _ route: Route,
        _ lane: Lane,
        _ addresses: Answer<[IPAddress]>
    ) async {
        guard let host = Domain(mx.exchange) else { return }
        switch await TLSALookup(resolver.current).records(of: host, port: mx.port, addresses: addresses) {
        case .absent: break
        case .failed(let error): trust.facts.dane = .failed("\(error)")
        case .records(let records, let base):
            trust.tlsa = records.map {
                PeerCheck.TLSA(usage: $0.usage, selector: $0.selector, matching: $0.matching, data: $0.data)
            }.filter(\.isUsable)
            trust.base = base
            trust.facts.dane = trust.tlsa.isEmpty ? .unusable : .usable
            if case .domain(let domain) = lane.hop, route.isSecure { trust.domain = domain }
        }
    }

    /// Policies that could not be had are looked for again, who was silent is not put off any more, and servers whose TLS
    /// was broken are asked for it again before anything goes in the clear.
    ///
    /// When it came to nothing first is still known: where it does again, the mail need not wait a second time, however often
    /// somebody flushes.
    package func forget() {
        policies?.forget()
        memory.forgetAll(.silent)
        memory.forgetAll(.lackingTLS)
    }

    // MARK: what domains are told

    /// Counts what became of TLS in a session with a host of a domain that was found in the DNS.
    ///
    /// - Parameter fault: nil: the session stands, and is protected.
    package func count(_ fault: TLSFault?, _ words: String?, _ trust: HostTrust, _ departure: Departure, in lane: Lane)
    {
        results.note(Self.session(fault, words, trust, departure, lane))
    }

    private static func session(
        _ fault: TLSFault?,
        _ words: String?,
        _ trust: HostTrust,
        _ departure: Departure,
        _ lane: Lane
    ) -> TLSSession? {
        guard case .domain(let domain) = lane.hop, domain.literal == nil, !lane.waivesPolicies else { return nil }
        var session = TLSSession(domain, trust.reportPolicy, mx: departure.mx.exchange)
        (session.ip, session.source, session.fault, session.words) = (departure.ip, departure.bind, fault, words)
        return session
    }

    // MARK: policies under test

    /// A host did not come up to a policy of mode `testing`.
    package func fallsShort(_ host: String, of hop: Lane.Hop, _ failure: Failure) {
        if case .domain(let domain) = hop { policies?.note(failure.reply.description, about: host, of: domain) }
    }

    // MARK: what a session needs

    /// The context of sessions to next hops; made once for the same authorities and certificate, so that sessions can be
    /// resumed.
    package func context() throws(Failure) -> TLSContext {
        let (authorities, certificate) = settings.ask { ($0.nextHopAuthorities, $0.clientCertificate) }
        if let kept = kept.withLock({ $0 }), kept.authorities == authorities, kept.certificate == certificate {
            return kept.context
        }
        var client = TLSContext.Client()
        if let authorities { client.authorities = .pem(authorities) }
        client.certificate = certificate
        do throws(TLSError) {
            let context = try TLSContext(client: client)
            kept.withLock { $0 = Kept(authorities: authorities, certificate: certificate, context: context) }
            return context
        } catch {
            throw Failure(.destination, at: .tls, Reply(451, EnhancedStatus(4, 3, 5), "TLS is not to be had: \(error)"))
        }
    }

    /// What to log in with; nil for a host that wants nobody.
    ///
    /// - Throws: when an access token is needed and there is none.
    package func login(at mx: MX) async throws(Failure) -> Login? {
        guard let credentials = mx.auth else { return nil }
        guard case .grant(let grant) = credentials.proof else { return Login(credentials) }
        do throws(TokenError) {
            guard let tokens else { throw TokenError("no access tokens are to be had here") }
            return Login(credentials, token: try await tokens.token(for: grant))
        } catch {
            let reply = Reply(454, EnhancedStatus(4, 7, 0), "no access token for \(credentials.user): \(error.reason)")
            throw Failure(.destination, at: .auth, reply)
        }
    }

    /// A next hop refused our login: a token that it does not take any more is not used again.
    ///
    /// - Parameter reply: what it said.
    package func loginRefused(at mx: MX, _ reply: Reply) {
        if case .grant(let grant) = mx.auth?.proof { tokens?.forget(grant) }
        let count = refused.withLock { refused in
            refused[mx] = Refusal(at: .now(), words: reply.description)
            return refused.count
        }
        TrustMetrics.hostsRefusing(count)
    }

    /// A session stands at a next hop that has a login of ours.
    package func loginAccepted(at mx: MX) {
        let count = refused.withLock { refused in refused.removeValue(forKey: mx) == nil ? nil : refused.count }
        if let count { TrustMetrics.hostsRefusing(count) }
    }

    /// Hosts that refused our login, and where no session has stood since, the last first.
    package var refusals: [(host: MX, refusal: Refusal)] {
        refused.withLock { $0.map { (host: $0, refusal: $1) } }.sorted { $0.refusal.at > $1.refusal.at }
    }

    /// Settings changed: a refusal at a host that no route names any more, or names with another login, is forgotten.
    package func forgetRefusals(except routes: Routes) {
        let count = refused.withLock { refused -> Int? in
            guard !refused.isEmpty else { return nil }
            let hosts = Set(routes.all.values.flatMap(\.hosts))
            refused.keep { host, _ in hosts.contains(host) }
            return refused.count
        }
        if let count { TrustMetrics.hostsRefusing(count) }
    }

    /// The last refusal of our login, when no session has stood there since.
    package func refusal(at mx: MX) -> Refusal? { refused.withLock { $0[mx] } }

    /// What is known of the access token for a next hop, without asking for one; nil where none is needed or known.
    package func tokenState(at mx: MX) -> TokenState? {
        guard case .grant(let grant) = mx.auth?.proof else { return nil }
        return tokens?.state(of: grant)
    }
}

/// A login of ours that a next hop did not take.
package struct Refusal: Hashable, Sendable {
    package let at: Timestamp
    /// Its reply.
    package let words: String
}
