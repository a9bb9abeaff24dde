// SenderPolicy.swift — does the SPF record of a domain let an address send? As much of RFC 7208 as a self-check needs: row by
// row in `Tests/Tables/spf.table`.
//
// Macros, `exists` and `ptr` are said to be unknown where they would decide.

package import DNS
package import Mail

/// One examination, with the lookups it may still make.
package struct SenderPolicy {
    /// What the record says of an address.
    package enum Verdict: Hashable, Sendable {
        case pass, fail, softFail, neutral
        /// There is no record.
        case none
        /// Two records, a loop, too many lookups, a DNS that does not answer, or words that are not understood.
        case unknown(String)
    }

    private let resolver: any Resolver
    /// Mechanisms that may still ask the DNS (RFC 7208 §4.6.4).
    private var lookups = 10
    /// Of these, so many may bring nothing.
    private var voids = 2

    /// - Parameter resolver: who knows the records.
    package init(_ resolver: any Resolver) { self.resolver = resolver }

    /// What the record of a domain says of an address.
    ///
    /// - Source: RFC 7208 §4
    package mutating func check(_ address: IPAddress, _ name: String) async -> Verdict {
        guard let domain = Domain(name) else { return .unknown("\(name) is no domain") }
        let texts: [String]
        do throws(DNSError) {
            texts = try await resolver.text(of: domain).value
        } catch .noSuchName {
            texts = []
        } catch {
            return .unknown("\(name): \(error)")
        }
        let records = texts.filter(SenderPolicyRecord.isOne)
        guard let text = records.first else { return .none }
        guard records.count == 1 else { return .unknown("\(name) has \(records.count) SPF records") }
        let record: SenderPolicyRecord
        do throws(SenderPolicyError) {
            record = try SenderPolicyRecord(parsing: text)
        } catch {
            return .unknown("\(name): \(error.word) is not understood")
        }
        for term in record.terms {
            switch await match(term, address, name) {
            case .match: return term.verdict
            case .noMatch: continue
            case .unknown(let reason): return .unknown(reason)
            }
        }
        guard let redirect = record.redirect else { return .neutral }
        if let trouble = spend(for: redirect) { return .unknown(trouble) }
        let verdict = await check(address, redirect)
        return verdict == .none ? .unknown("\(redirect) has no SPF record") : verdict
    }

    private enum Match {
        case match, noMatch
        case unknown(String)

        init(_ isMatch: Bool) { self = isMatch ? .match : .noMatch }
    }

    private mutating func match(_ term: SenderPolicyRecord.Term, _ address: IPAddress, _ name: String) async -> Match {
        switch term.mechanism {
        case .all: return .match
        case .network(let network): return Match(network.contains(address))
        case .unsupported: return .unknown("\(term.word) is not understood")
        case .include(let target):
            if let trouble = spend(for: target) { return .unknown(trouble) }
            switch await check(address, target) {
            case .pass: return .match
            case .fail, .softFail, .neutral: return .noMatch
            case .none: return .unknown("\(target) has no SPF record")
            case .unknown(let reason): return .unknown(reason)
            }
        case .hosts(let isExchangers, let target, let v4, let v6):
            let target = target ?? name
            if let trouble = spend(for: target) { return .unknown(trouble) }
            do throws(DNSError) {
                let found = try await isExchangers ? exchangers(of: target) : addresses(of: target)
                if found.isEmpty {
                    voids -= 1
                    if voids < 0 { return .unknown("too many names that do not exist") }
                }
                return Match(found.contains { IPNetwork($0, prefix: $0.isV6 ? v6 : v4).contains(address) })
            } catch {
                return .unknown("\(target): \(error)")
            }
        }
    }

    /// - Returns: why nothing more is asked.
    private mutating func spend(for target: String) -> String? {
        guard !target.utf8.contains(UInt8(ascii: "%")) else { return "\(target) holds a macro" }
        lookups -= 1
        return lookups < 0 ? "too many lookups" : nil
    }

    private func addresses(of name: String) async throws(DNSError) -> [IPAddress] {
        guard let domain = Domain(name) else { return [] }
        do throws(DNSError) {
            return try await resolver.addresses(of: domain).value
        } catch .noSuchName {
            return []
        }
    }

    private func exchangers(of name: String) async throws(DNSError) -> [IPAddress] {
        guard let domain = Domain(name) else { return [] }
        var found: [IPAddress] = []
        do throws(DNSError) {
            for record in try await resolver.mailExchangers(of: domain).value.prefix(10) {
                if let host = record.host { found += try await addresses(of: host.name) }
            }
        } catch .noSuchName {
            return []
        }
        return found
    }
}
