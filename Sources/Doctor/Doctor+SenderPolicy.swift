// Doctor+SenderPolicy.swift — whether the sender's domain lets this machine send.

import Config
import DNS
import Departure
import Mail

extension Doctor {
    /// The sender's domain lets us send; when mail leaves through a smart host, that has to be in it instead.
    static func senderPolicy(_ patient: Patient, _ resolver: any Resolver, _ ours: [IPAddress]) async -> [Finding] {
        guard !patient.settings.routes.hasSmartHost else {
            return [Finding(.skipped, "SPF", "mail leaves through a smart host; its provider says what belongs in SPF")]
        }
        let seen = ours.filter(\.isPublic)
        var findings = ours.filter { !$0.isPublic }.map { address in
            Finding(.skipped, "SPF", "\(address) is not public: the world sees the address of a router in front of it")
        }
        var verdicts: [(IPAddress, SenderPolicy.Verdict)] = []
        for address in seen {
            var policy = SenderPolicy(resolver)
            verdicts.append((address, await policy.check(address, patient.sender)))
        }
        // One record for all that are not in it yet: a domain has one, and two are none (RFC 7208 §4.5).
        let missing = verdicts.filter { !$0.1.isSettled }.map { "\($0.0.isV6 ? "ip6" : "ip4"):\($0.0)" }
            .joined(separator: " ")
        let remedy = "Add \(missing) to the TXT record of \(patient.sender) that begins with v=spf1."
        var isProposed = false
        for (address, verdict) in verdicts {
            switch verdict {
            case .pass: findings.append(Finding(.good, "SPF", "\(patient.sender) lets \(address) send"))
            case .fail: findings.append(Finding(.bad, "SPF", "\(patient.sender) forbids \(address) to send", remedy))
            case .softFail, .neutral:
                findings.append(Finding(.odd, "SPF", "\(patient.sender) does not vouch for \(address)", remedy))
            case .none:
                // Said once: it names every address.
                guard !isProposed else { continue }
                isProposed = true
                let text = "v=spf1 \(missing) -all"
                findings.append(
                    Finding(.odd, "SPF", "\(patient.sender) has no SPF record", "Make one TXT record there: \(text)")
                )
            case .unknown(let reason): findings.append(Finding(.skipped, "SPF", reason))
            }
        }
        return findings
    }
}

extension SenderPolicy.Verdict {
    /// There is nothing to propose.
    fileprivate var isSettled: Bool {
        switch self {
        case .pass, .unknown: true
        case .fail, .softFail, .neutral, .none: false
        }
    }
}
