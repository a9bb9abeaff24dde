// UnboundResolver.swift — libunbound behind the Resolver protocol.
//
// Asks forwarders (or the system's resolvers) and validates with DNSSEC when there is a trust anchor. An answer or an
// error comes within ``UnboundResolver/Options/timeout``, whatever the servers do. Nothing blocks the caller.

package import Mail

/// The real resolver.
///
/// It works until the last reference to it is gone; questions still open then fail.
package final class UnboundResolver: Resolver {
    /// What `resolver.ini` says.
    package struct Options: Sendable, Hashable {
        /// Resolvers to ask, as `ip` or `ip@port`; empty asks those of `/etc/resolv.conf`.
        package var forwarders: [String] = []
        /// Path of a DNSSEC trust anchor.
        package var trustAnchorFile: String?
        /// Whether `/etc/hosts` is read too.
        package var readsHosts = false
        /// How long a question may take.
        package var timeout: Duration = .seconds(12)
        /// Questions that may be at the resolver at once; more wait.
        ///
        /// unbound drops what comes from a client that has 1000 there.
        package var inFlight = 700
        /// Questions that may wait; more fail at once.
        package var waiting = 10_000

        package init() {}
    }

    private let pump: UnboundPump

    /// - Throws: ``DNSError/serverFailure(_:)`` with what is wrong with the options.
    package init(_ options: Options = Options()) throws(DNSError) {
        pump = try UnboundPump.start(options)
    }

    deinit { pump.close() }

    package func forget() { pump.forget() }

    package func mailExchangers(of domain: Domain) async throws(DNSError) -> Answer<[MXRecord]> {
        let raw = try await ask(domain, .mx)
        let records = raw.records.compactMap { RecordParsing.mx($0) }
        guard raw.records.isEmpty || !records.isEmpty else {
            throw .serverFailure("the MX records of \(domain) name no host")
        }
        return Answer(records, isSecure: raw.isSecure, timeToLive: raw.timeToLive)
    }

    package func addresses(of host: Domain) async throws(DNSError) -> Answer<[IPAddress]> {
        async let six = result(host, .aaaa)
        let four = await result(host, .a)
        return try Self.combine(four, await six)
    }

    package func tlsa(of host: Domain, port: UInt16) async throws(DNSError) -> Answer<[TLSARecord]> {
        let raw = try await ask(Domain(unchecked: "_\(port)._tcp.\(host.name)"), .tlsa)
        return Answer(
            raw.records.map { RecordParsing.tlsa($0) },
            isSecure: raw.isSecure,
            timeToLive: raw.timeToLive
        )
    }

    package func text(of name: Domain) async throws(DNSError) -> Answer<[String]> {
        let raw = try await ask(name, .txt)
        return Answer(
            raw.records.compactMap { RecordParsing.txt($0) },
            isSecure: raw.isSecure,
            timeToLive: raw.timeToLive
        )
    }

    package func alias(of name: Domain) async throws(DNSError) -> Answer<Domain?> {
        let raw = try await ask(name, .cname)
        var target: Domain?
        if let first = raw.records.first, case .host(let host) = RecordParsing.name(first) { target = host }
        return Answer(target, isSecure: raw.isSecure, timeToLive: raw.timeToLive)
    }

    package func isSigned(_ zone: String) async throws(DNSError) -> Bool {
        try await pump.ask(zone, .soa).get().isSecure
    }

    /// One family is enough.
    ///
    /// When neither has an address, the error that may pass counts more than the other's silence: a bounce must not
    /// follow from half an answer.
    private static func combine(
        _ four: Result<RawAnswer, DNSError>,
        _ six: Result<RawAnswer, DNSError>
    ) throws(DNSError) -> Answer<[IPAddress]> {
        let addresses =
            ((try? four.get())?.records ?? []).compactMap { RecordParsing.a($0) }
            + ((try? six.get())?.records ?? []).compactMap { RecordParsing.aaaa($0) }
        switch (four, six) {
        case (.success(let a), .success(let b)):
            return Answer(
                addresses,
                isSecure: a.isSecure && b.isSecure,
                timeToLive: min(a.timeToLive, b.timeToLive),
                canonicalName: a.canonicalName ?? b.canonicalName
            )
        case (.success(let one), .failure(let error)), (.failure(let error), .success(let one)):
            guard !addresses.isEmpty else { throw error }
            // Asked again soon, when the other family may answer.
            return Answer(
                addresses,
                isSecure: one.isSecure,
                timeToLive: min(one.timeToLive, .seconds(60)),
                canonicalName: one.canonicalName
            )
        case (.failure(let a), .failure(let b)):
            throw a == .noSuchName ? b : a
        }
    }

    private func ask(_ name: Domain, _ type: RecordType) async throws(DNSError) -> RawAnswer {
        try await result(name, type).get()
    }

    private func result(_ name: Domain, _ type: RecordType) async -> Result<RawAnswer, DNSError> {
        // Records of an older version may hold a name that has no A-label.
        guard name.name.utf8.allSatisfy({ $0 < 0x80 }) else { return .failure(.noSuchName) }
        guard name.literal == nil else { return .failure(.serverFailure("\(name) is no name")) }
        let begin = Uptime.now()
        let answer = await pump.ask(name.name, type)
        DNSMetrics.count(type, answer, since: begin)
        return answer
    }
}

/// The types we ask for, by their number (RFC 1035 §3.2.2, RFC 3596 §2.1, RFC 6698 §7.1).
enum RecordType: Int32, Sendable {
    case a = 1
    case cname = 5
    case soa = 6
    case mx = 15
    case txt = 16
    case aaaa = 28
    case tlsa = 52
}

/// An answer before its records are read.
struct RawAnswer: Sendable {
    /// rdata each; empty when the name has no record of the type.
    var records: [[UInt8]]
    var isSecure: Bool
    var timeToLive: Duration
    /// The name at the end of the CNAMEs; nil when the name asked for is no alias.
    var canonicalName: Domain?
}
