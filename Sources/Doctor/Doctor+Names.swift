// Doctor+Names.swift — the names others judge us by: our own, the one of our address, SPF; and the resolver that says so.

import Config
import DNS
import Departure
import Mail

extension Doctor {
    static func names(_ patient: Patient, _ resolver: any Resolver) async -> [Finding] {
        var findings = await resolution(patient, resolver)
        guard findings.allSatisfy({ $0.state != .bad }) else {
            return findings + [Finding(.skipped, "name", "without a resolver names cannot be examined")]
        }
        let ours = SystemSources.addresses()
        findings += await name(patient, resolver, ours)
        findings += await senderPolicy(patient, resolver, ours)
        findings += await signing(patient, resolver, at: .now())
        findings += await bulkRules(patient, resolver, at: .now())

        return findings
    }

    /// Somebody answers, and validates when we asked for that.
    private static func resolution(_ patient: Patient, _ resolver: any Resolver) async -> [Finding] {
        let hasAnchor = patient.settings.resolver.trustAnchorFile != nil
        let subject = patient.probe == "none" ? patient.sender : "iana.org"
        guard let domain = Domain(subject) else { return [] }
        do throws(DNSError) {
            let answer = try await resolver.mailExchangers(of: domain)
            let good = Finding(.good, "resolver", "answers")
            if !hasAnchor {
                return [
                    good,
                    Finding(
                        .odd,
                        "DNSSEC",
                        "answers are not validated, so DANE is not used",
                        "Install dns-root-data and set trust_anchor_file = /usr/share/dns/root.key in resolver.ini."
                    ),
                ]
            }
            return [
                good,
                Finding(
                    answer.isSecure ? .good : .odd,
                    "DNSSEC",
                    answer.isSecure ? "\(subject) validates" : "\(subject) does not validate",
                    "The resolver in front strips signatures: ask another with forward in resolver.ini."
                ),
            ]
        } catch .noSuchName {
            return [Finding(.good, "resolver", "answers")]
        } catch {
            return [
                Finding(
                    .bad,
                    "resolver",
                    "\(error)",
                    "Look at /etc/resolv.conf, or name a resolver with forward in resolver.ini (MARTLET_DNS)."
                )
            ]
        }
    }

    /// `me` is known to the DNS, and our addresses lead back to it.
    private static func name(_ patient: Patient, _ resolver: any Resolver, _ ours: [IPAddress]) async -> [Finding] {
        let me = patient.settings.me
        guard me.name.contains(octet: ".") else {
            return [
                Finding(
                    .bad,
                    "name",
                    "\(me.name) has no domain; many servers refuse it",
                    "Write the full name into `me` (MARTLET_HOSTNAME)."
                )
            ]
        }
        var findings: [Finding] = []
        let known = (try? await resolver.addresses(of: me))?.value ?? []
        findings.append(
            known.isEmpty
                ? Finding(.bad, "name", "\(me.name) has no address", "Make an A record for it, and AAAA with IPv6.")
                : Finding(.good, "name", "\(me.name) is \(known.map(\.description).joined(separator: ", "))")
        )
        for address in known where !address.isLoopback {
            findings.append(BulkRules.pointer(of: address, called: me))
            if !ours.contains(address), !ours.isEmpty {
                findings.append(
                    Finding(
                        .odd,
                        "address",
                        "\(address) is not an address of this machine, which sends from "
                            + ours.map(\.description).joined(separator: ", "),
                        "Fine behind a router that translates; else correct the record."
                    )
                )
            }
        }
        return findings
    }
}
