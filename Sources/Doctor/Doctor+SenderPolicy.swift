// Doctor+SenderPolicy.swift — whether the sender's domain lets this machine send.

import Config
import DNS
import Mail

extension Doctor {
    /// The sender's domain lets us send; when mail leaves through a smart host, that has to be in it instead.
    static func senderPolicy(_ patient: Patient, _ resolver: any Resolver, _ ours: [IPAddress]) async -> [Finding] {
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
