// Doctor+Signing.swift — whether receivers can verify what we sign: each key's record is in the DNS, and no change of keys is left
// half done.

import Config
import DNS
import Departure
import Mail

extension Doctor {
    /// Domains that are looked at.
    private static let mostDomains = 50

    static func signing(_ patient: Patient, _ resolver: any Resolver, at now: Timestamp) async -> [Finding] {
        let dkim = patient.settings.dkim
        var findings: [Finding] = []
        for domain in dkim.domains.keys.sorted(by: { $0.name < $1.name }).prefix(mostDomains) {
            for key in dkim.keys(of: domain, at: now) ?? [] {
                findings.append(await published(DKIMRecord(domain, key.selector, key.key), resolver))
            }
            if let rotation = dkim.rotations[domain] {
                findings += await changing(domain, rotation, dkim.domains[domain] ?? [], resolver, now)
            }
        }
        return findings
    }

    private static func published(_ record: DKIMRecord, _ resolver: any Resolver) async -> Finding {
        let publication = await DKIMPublication.look(at: record, resolver)
        let text = "\(record.name) \(publication.words)"
        return switch publication {
        case .published: Finding(.good, "DKIM", text)
        case .missing, .other: Finding(.bad, "DKIM", "it signs, and \(text)", "Publish \(record.zoneLine)")
        case .unknown: Finding(.skipped, "DKIM", text)
        }
    }

    /// A change of keys, and what comes next.
    private static func changing(
        _ domain: Domain,
        _ rotation: DKIMRotation,
        _ keys: [DKIMSettings.Key],
        _ resolver: any Resolver,
        _ now: Timestamp
    ) async -> [Finding] {
        let names = rotation.next.map(\.selector).joined(separator: ", ")
        let next = "Run `martlet dkim rotate \(domain)`."
        var findings: [Finding] = []
        switch rotation.stage(at: now) {
        case .prepared, .scheduled:
            var isReady = true
            for key in rotation.next {
                let record = DKIMRecord(domain, key.selector, key.key)
                let publication = await DKIMPublication.look(at: record, resolver)
                guard publication != .published else { continue }
                isReady = false
                let isBad = rotation.signFrom != nil
                let text = "\(record.name) is to sign, and \(publication.words)"
                findings.append(Finding(isBad ? .bad : .odd, "DKIM", text, "Publish \(record.zoneLine)"))
            }
            guard isReady else { break }
            if let time = rotation.signFrom {
                findings.append(
                    Finding(.good, "DKIM", "\(domain): \(names) is published, and signs from \(time.rfc3339) on")
                )
            } else {
                findings.append(Finding(.odd, "DKIM", "\(domain): \(names) is published, and signs nothing yet", next))
            }
        case .switched(let end):
            let kept = rotation.kept(of: keys)
            for key in keys where !kept.contains(key) {
                let record = DKIMRecord(domain, key.selector, key.key)
                guard await DKIMPublication.look(at: record, resolver) != .published else { continue }
                let text = "\(record.name) is gone, and mail that it signed is still looked at"
                findings.append(Finding(.odd, "DKIM", text, "Keep that record until \(end.rfc3339)."))
            }
            findings.append(
                Finding(.good, "DKIM", "\(domain): \(names) has taken over; the old record stays until \(end.rfc3339)")
            )
        case .over: findings.append(Finding(.odd, "DKIM", "\(domain): nothing needs the old key any more", next))
        }
        return findings
    }
}
