// STSPolicies.swift — the MTA-STS policies of other domains: looked for in the DNS, fetched by HTTPS, kept on disk.
//
// Guarantees: a policy that was once seen holds until its `max_age` is over, whatever becomes of its record or its server
// in the meantime (RFC 8461 §3.3, §5.1): who can make them disappear cannot make us forget. No redirects, bounded time
// and size, one fetch at a time for a domain, a pause after a failure.

package import Config
package import DNS
import HTTPClient
package import Log
package import Loop
package import Mail
import Synchronization

/// Where policies outlive a restart.
///
/// Both may block; they are called on the threads of ``STSPolicies`` only.
package struct STSStore: Sendable {
    package let load: @Sendable (Domain) -> [UInt8]?
    package let save: @Sendable (Domain, [UInt8]) -> Void

    package init(
        load: @escaping @Sendable (Domain) -> [UInt8]?,
        save: @escaping @Sendable (Domain, [UInt8]) -> Void
    ) {
        self.load = load
        self.save = save
    }
}

/// Knows the policy of a domain.
package final class STSPolicies: Sendable {
    /// Milliseconds before a server that failed is asked again (RFC 8461 §3.3).
    private static let pause: Int64 = 300_000
    /// Milliseconds after which a policy is fetched again though its record has not changed.
    private static let fresh: Int64 = 86_400_000
    private static let mostDomains = 10_000
    /// How long a policy server is waited for: mail waits meanwhile, and without an answer there is no policy for now.
    private static let patience: Duration = .seconds(10)

    private struct Known {
        var kept: KeptPolicy?
        var quietUntil = Timestamp(milliseconds: 0)
        var fetching: Task<KeptPolicy?, Never>?
    }

    private let resolver: InForce<any Resolver>
    private let settings: InForce<Settings>
    private let fetch: WebFetch
    private let store: STSStore
    private let now: @Sendable () -> Timestamp
    private let log: LogSink
    private let known = Mutex(Bounded<Domain, Known>(atLeast: mostDomains))

    /// - Parameters:
    ///   - resolver: the one in force.
    ///   - settings: for the authorities that policy servers are verified with.
    ///   - fetch: HTTPS.
    ///   - store: keeps policies.
    ///   - log: for policies that are tested, and servers that fail.
    ///   - now: the time.
    package init(
        resolver: InForce<any Resolver>,
        settings: InForce<Settings>,
        fetch: WebFetch,
        store: STSStore,
        log: LogSink,
        now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.resolver = resolver
        self.settings = settings
        self.fetch = fetch
        self.store = store
        self.log = log
        self.now = now
    }

    /// What the policy of a domain says about one of its hosts, and the policy.
    func verdict(on host: String, of domain: Domain) async -> (verdict: Verdict, policy: STSPolicy?) {
        guard let policy = await policy(of: domain) else { return (.absent, nil) }
        switch policy.mode {
        case .none: return (.absent, policy)
        case .enforce: return (.enforced(isNamed: policy.names(host)), policy)
        case .testing: return (.testing(isNamed: policy.names(host)), policy)
        }
    }

    /// What a policy says about a host.
    enum Verdict: Hashable {
        /// There is none, or it says nothing.
        case absent
        case enforced(isNamed: Bool)
        /// Nothing is demanded, and what the host fails at is to be noted.
        case testing(isNamed: Bool)
    }

    /// Servers that failed may be asked again at once.
    func forget() {
        known.withLock { known in
            known.changeAll { $0.quietUntil = Timestamp(milliseconds: 0) }
        }
    }

    /// What a policy of mode `testing` would have kept mail from a host for.
    func note(_ reason: String, about host: String, of domain: Domain) {
        TrustMetrics.failedTest()
        log.write(.notice, "MTA-STS policy under test would have kept mail from this host") { line in
            line.add(.domain, domain.name)
            line.add(.mx, host)
            line.add(.reason, reason)
        }
    }

    /// The policy in force, which may have been fetched long ago.
    package func policy(of domain: Domain) async -> STSPolicy? {
        let id: String?
        do throws(DNSError) {
            id = STSPolicy.id(
                in: try await resolver.current.text(of: Domain(unchecked: "_mta-sts.\(domain.name)")).value
            )
        } catch {
            id = nil
        }
        let time = now()
        let kept = await kept(domain)
        let valid = kept.flatMap { time < $0.expires ? $0 : nil }
        guard let id else { return valid?.policy }
        if let valid, valid.id == id, time < valid.fetched.adding(milliseconds: Self.fresh) { return valid.policy }
        return (await fetched(domain, id) ?? valid)?.policy
    }

    /// What is in memory, or was found on disk.
    private func kept(_ domain: Domain) async -> KeptPolicy? {
        if let known = known.withLock({ $0[domain] }) { return known.kept }
        let found = store.load(domain).flatMap { KeptPolicy(parsing: $0, now: now()) }
        return known.withLock { known in
            if known[domain] == nil { known[domain] = Known(kept: found) }
            return known[domain]?.kept
        }
    }

    /// - Returns: nil when the policy cannot be had now.
    private func fetched(_ domain: Domain, _ id: String) async -> KeptPolicy? {
        let time = now()
        let task: Task<KeptPolicy?, Never>? = known.withLock { known in
            var entry = known[domain] ?? Known()
            defer { known[domain] = entry }
            if let running = entry.fetching { return running }
            if time < entry.quietUntil { return nil }
            let task = Task { await self.fetchNow(domain, id) }
            entry.fetching = task
            return task
        }
        return await task?.value
    }

    private func fetchNow(_ domain: Domain, _ id: String) async -> KeptPolicy? {
        let result = await ask(domain)
        let time = now()
        var kept: KeptPolicy?
        switch result {
        case .success(let text):
            kept = STSPolicy(parsing: text).map { KeptPolicy(id: id, fetched: time, text: text, policy: $0) }
            if kept == nil { complain(domain, "the policy file is none") }
        case .failure(let error): complain(domain, error.text)
        }
        if let kept { store.save(domain, kept.bytes) }
        known.withLock { known in
            var entry = known[domain] ?? Known()
            entry.fetching = nil
            if let kept { entry.kept = kept } else { entry.quietUntil = time.adding(milliseconds: Self.pause) }
            known[domain] = entry
        }
        return kept
    }

    private func complain(_ domain: Domain, _ reason: String) {
        log.write(.info, "MTA-STS policy cannot be had") { line in
            line.add(.domain, domain.name)
            line.add(.reason, reason)
        }
    }

    /// - Source: RFC 8461 §3.3
    private func ask(_ domain: Domain) async -> Result<String, HTTPError> {
        let host = Domain(unchecked: "mta-sts.\(domain.name)")
        let addresses: [IPAddress]
        do throws(DNSError) {
            addresses = try await resolver.current.addresses(
                of: host,
                preference: settings.ask { $0.outbound.addressPreference }
            ).value
        } catch {
            return .failure(HTTPError(.cannotResolve, "\(host): \(error)"))
        }
        let url = "https://\(host)/.well-known/mta-sts.txt"
        guard let parsed = try? WebURL(url), parsed.isSecure, parsed.host.isSame(octets: host.name) else {
            return .failure(HTTPError(.invalidRequest, "\(host) is no host of a URL"))
        }
        var request = HTTPRequest("GET", url)
        request.addresses = addresses.prefix(4).map(\.description)
        request.timeout = Self.patience
        request.maxResponseBytes = 64 << 10
        request.caFile = settings.ask { $0.outbound.tlsCAFile }
        switch await fetch(request) {
        case .failure(let error): return .failure(error)
        case .success(let response):
            guard response.status == 200 else {
                return .failure(HTTPError(.broken, "\(host) answered \(response.status)"))
            }
            // Untrusted users may be able to put other things there.
            guard response.header("content-type")?.lowercasedASCII.starts(withOctets: "text/plain") ?? false else {
                return .failure(HTTPError(.broken, "\(host) answered with something that is no text/plain"))
            }
            return .success(response.text)
        }
    }
}

/// A policy with what is to be remembered of its fetching.
struct KeptPolicy: Sendable {
    let id: String
    let fetched: Timestamp
    let text: String
    let policy: STSPolicy

    var expires: Timestamp { fetched.adding(milliseconds: Int64(policy.maxAge) * 1000) }

    init(id: String, fetched: Timestamp, text: String, policy: STSPolicy) {
        self.id = id
        self.fetched = fetched
        self.text = text
        self.policy = policy
    }

    /// One line of ours, then the text as it came.
    var bytes: [UInt8] { Array("mta-sts 1 \(id) \(fetched.milliseconds)\n\(text)".utf8) }

    /// - Returns: nil for a file that is damaged, or comes from the future and would never age: the policy is fetched again.
    init?(parsing bytes: [UInt8], now: Timestamp) {
        guard let end = bytes.firstIndex(of: 0x0A) else { return nil }
        let words = String(decoding: bytes[..<end], as: UTF8.self).split(octet: " ").map(String.init)
        let text = String(decoding: bytes[bytes.index(after: end)...], as: UTF8.self)
        guard words.count == 4, words[0] == "mta-sts", words[1] == "1", let milliseconds = Int64(words[3]),
            milliseconds >= 0, milliseconds <= now.milliseconds, let policy = STSPolicy(parsing: text)
        else { return nil }
        self.init(id: words[2], fetched: Timestamp(milliseconds: milliseconds), text: text, policy: policy)
    }
}
