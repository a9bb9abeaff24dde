// StaticResolver.swift — a resolver that knows what it was told.

package import DNS
package import Mail
import Synchronization

/// Answers from tables; a name in no table does not exist.
///
/// Zones may change while it is asked.
package final class StaticResolver: Resolver {
    private struct Zones {
        var exchangers: [String: [MXRecord]] = [:]
        var addresses: [String: [IPAddress]] = [:]
        var failures: [String: DNSError] = [:]
        var tlsa: [String: [TLSARecord]] = [:]
        var texts: [String: [String]] = [:]
        var aliases: [String: Domain] = [:]
        var secure: Set<String> = []
        var questions: [String] = []
    }

    private let zones = Mutex(Zones())

    package init() {}

    /// Gives a domain its MX records: `10 mx.example`, or `0 .` for none; without any it exists and has no MX.
    package func setMX(_ domain: String, _ records: [String]) {
        let parsed = records.compactMap { record -> MXRecord? in
            let parts = record.split(separator: " ")
            guard parts.count == 2, let preference = UInt16(parts[0]) else { return nil }
            return MXRecord(preference: preference, host: parts[1] == "." ? nil : Domain(unchecked: String(parts[1])))
        }
        zones.withLock { $0.exchangers[domain] = parsed }
    }

    package func setAddresses(_ host: String, _ addresses: [String]) {
        zones.withLock { $0.addresses[host] = addresses.compactMap { IPAddress($0) } }
    }

    /// Gives a service its TLSA records, by the whole name: `_25._tcp.mx.example`.
    package func setTLSA(_ name: String, _ records: [TLSARecord]) { zones.withLock { $0.tlsa[name] = records } }

    package func setText(_ name: String, _ texts: [String]) { zones.withLock { $0.texts[name] = texts } }

    /// Makes a name an alias of another, whose addresses it has then.
    package func setAlias(_ name: String, of target: String) {
        zones.withLock { $0.aliases[name] = Domain(unchecked: target) }
    }

    /// DNSSEC vouches for every answer about these names; an alias and its target each count for themselves.
    package func setSecure(_ names: String...) { zones.withLock { $0.secure.formUnion(names) } }

    /// Lets every question about a name fail, or nil: answer again.
    package func fail(_ name: String, _ error: DNSError?) { zones.withLock { $0.failures[name] = error } }

    /// What was asked, such as `MX example.com`, in order.
    package var questions: [String] { zones.withLock { $0.questions } }

    package func mailExchangers(of domain: Domain) async throws(DNSError) -> Answer<[MXRecord]> {
        let name = domain.name
        let (failure, records, exists) = zones.withLock { zones in
            zones.questions.append("MX \(name)")
            return (zones.failures[name], zones.exchangers[name], zones.addresses[name] != nil)
        }
        if let failure { throw failure }
        guard let records else {
            guard exists else { throw .noSuchName }
            return Answer([], isSecure: isSecure(name), timeToLive: .seconds(300))
        }
        return Answer(records, isSecure: isSecure(name), timeToLive: .seconds(300))
    }

    package func addresses(of host: Domain) async throws(DNSError) -> Answer<[IPAddress]> {
        let name = host.name
        let (failure, addresses, exists, target) = zones.withLock { zones in
            zones.questions.append("A \(name)")
            let target = zones.aliases[name]
            return (
                zones.failures[name], zones.addresses[target?.name ?? name], zones.exchangers[name] != nil, target
            )
        }
        if let failure { throw failure }
        let isSecure = isSecure(name) && target.map { self.isSecure($0.name) } ?? true
        guard let addresses else {
            guard exists else { throw .noSuchName }
            return Answer([], isSecure: isSecure, timeToLive: .seconds(300))
        }
        return Answer(addresses, isSecure: isSecure, timeToLive: .seconds(300), canonicalName: target)
    }

    package func tlsa(of host: Domain, port: UInt16) async throws(DNSError) -> Answer<[TLSARecord]> {
        let name = "_\(port)._tcp.\(host.name)"
        return try answer("TLSA", name) { $0.tlsa[name] }
    }

    package func text(of name: Domain) async throws(DNSError) -> Answer<[String]> {
        try answer("TXT", name.name) { $0.texts[name.name] }
    }

    package func alias(of name: Domain) async throws(DNSError) -> Answer<Domain?> {
        try answer("CNAME", name.name) { .some($0.aliases[name.name]) }
    }

    package func isSigned(_ zone: String) async throws(DNSError) -> Bool { isSecure(zone) }

    private func isSecure(_ name: String) -> Bool { zones.withLock { $0.secure.contains(name) } }

    private func answer<Value>(
        _ type: String,
        _ name: String,
        _ find: (Zones) -> Value?
    ) throws(DNSError) -> Answer<Value> {
        let (failure, found) = zones.withLock { zones in
            zones.questions.append("\(type) \(name)")
            return (zones.failures[name], find(zones))
        }
        if let failure { throw failure }
        guard let found else { throw .noSuchName }
        return Answer(found, isSecure: isSecure(name), timeToLive: .seconds(300))
    }
}
