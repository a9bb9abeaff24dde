// SenderPolicy.swift — does the SPF record of a domain let an address send? As much of RFC 7208 as a self-check needs.
//
// `ip4`, `ip6`, `a`, `mx`, `include`, `redirect` and `all`; macros, `exists` and `ptr` are reported as unknown.

import Config
import DNS
import Mail

/// One examination, with the lookups it may still make (RFC 7208 §4.6.4).
struct SenderPolicy {
    /// What the record says of an address.
    enum Verdict: Hashable {
        case pass, fail, softFail, neutral
        /// There is no record.
        case none
        /// Two records, a loop, too many lookups, or words that are not understood.
        case unknown(String)
    }

    private let resolver: UnboundResolver
    private var lookups = 10

    init(_ resolver: UnboundResolver) { self.resolver = resolver }

    mutating func check(_ address: IPAddress, _ name: String) async -> Verdict {
        guard let domain = Domain(name) else { return .unknown("\(name) is no domain") }
        let texts = (try? await resolver.text(of: domain))?.value ?? []
        let records = texts.filter { $0.lowercased() == "v=spf1" || $0.lowercased().hasPrefix("v=spf1 ") }
        guard let record = records.first else { return .none }
        guard records.count == 1 else { return .unknown("\(name) has \(records.count) SPF records") }
        var redirect: String?
        for word in record.split(separator: " ").dropFirst() {
            if word.lowercased().hasPrefix("redirect=") {
                redirect = String(word.dropFirst(9))
                continue
            }
            guard !word.contains("=") else { continue }
            if let verdict = await match(String(word), address, name) { return verdict }
        }
        guard let redirect else { return .neutral }
        guard spend() else { return .unknown("too many lookups") }
        return await check(address, redirect)
    }

    private mutating func spend() -> Bool {
        lookups -= 1
        return lookups >= 0
    }

    /// - Returns: nil when the word does not match.
    private mutating func match(_ word: String, _ address: IPAddress, _ name: String) async -> Verdict? {
        let signs: [Character: Verdict] = ["+": .pass, "-": .fail, "~": .softFail, "?": .neutral]
        let sign = word.first.flatMap { signs[$0] }
        let term = sign == nil ? word[...] : word.dropFirst()
        let verdict = sign ?? .pass
        let colon = term.firstIndex { $0 == ":" || $0 == "/" } ?? term.endIndex
        let mechanism = term[..<colon].lowercased()
        let value = term[colon...].drop { $0 == ":" }
        guard !value.contains("%") else { return .unknown("\(word) holds a macro") }
        switch mechanism {
        case "all": return verdict
        case "ip4", "ip6":
            let network = IPNetwork(value.contains("/") ? String(value) : "\(value)/\(mechanism == "ip4" ? 32 : 128)")
            return network?.contains(address) == true ? verdict : nil
        case "a", "mx":
            guard spend() else { return .unknown("too many lookups") }
            let target = value.prefix { $0 != "/" }
            return await hosts(mechanism, target.isEmpty ? name : String(target)).contains(address) ? verdict : nil
        case "include":
            guard spend() else { return .unknown("too many lookups") }
            // Boxed by a copy: a value cannot call itself while it is being changed.
            var inner = self
            let found = await inner.check(address, String(value))
            lookups = inner.lookups
            if case .unknown = found { return found }
            return found == .pass ? verdict : nil
        default: return .unknown("\(word) is not understood")
        }
    }

    private func hosts(_ mechanism: String, _ name: String) async -> [IPAddress] {
        guard let domain = Domain(name) else { return [] }
        guard mechanism == "mx" else { return (try? await resolver.addresses(of: domain))?.value ?? [] }
        var found: [IPAddress] = []
        for record in ((try? await resolver.mailExchangers(of: domain))?.value ?? []).prefix(10) {
            if let host = record.host { found += (try? await resolver.addresses(of: host))?.value ?? [] }
        }
        return found
    }
}

extension Doctor {
    /// The sender's domain lets us send; when mail leaves through a smart host, that has to be in it instead.
    static func senderPolicy(_ patient: Patient, _ resolver: UnboundResolver, _ ours: [IPAddress]) async -> [Finding] {
        guard !patient.settings.routes.hasSmartHost else {
            return [Finding(.skipped, "SPF", "mail leaves through a smart host; its provider says what belongs in SPF")]
        }
        var findings: [Finding] = []
        for address in ours {
            var policy = SenderPolicy(resolver)
            let verdict = await policy.check(address, patient.sender)
            let kind = address.isV6 ? "ip6" : "ip4"
            let remedy = "Add \(kind):\(address) to the TXT record of \(patient.sender) that begins with v=spf1."
            switch verdict {
            case .pass: findings.append(Finding(.good, "SPF", "\(patient.sender) lets \(address) send"))
            case .fail: findings.append(Finding(.bad, "SPF", "\(patient.sender) forbids \(address) to send", remedy))
            case .softFail, .neutral:
                findings.append(Finding(.odd, "SPF", "\(patient.sender) does not vouch for \(address)", remedy))
            case .none:
                let text = "v=spf1 \(kind):\(address) -all"
                findings.append(
                    Finding(.odd, "SPF", "\(patient.sender) has no SPF record", "Make a TXT record there: \(text)")
                )
            case .unknown(let reason): findings.append(Finding(.skipped, "SPF", reason))
            }
        }
        return findings
    }
}
