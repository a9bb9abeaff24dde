// BulkRules.swift — what the large providers ask of whoever sends much, as far as it can be seen from here: a domain in From that DKIM
// or SPF vouches for (DMARC, RFC 7489), a policy of its own, fields for one click to unsubscribe that the signature covers
// (RFC 8058), and an address that the DNS has a name for. `doctor` and `explain` say the same.

package import Config
package import DNS
package import Mail

/// The rules, and how mail of a domain stands to them.
package enum BulkRules {
    /// What the large providers would find in mail of a domain.
    ///
    /// - Parameters:
    ///   - sender: the domain in From.
    ///   - settings: those in force.
    ///   - resolver: knows the domain's policy.
    package static func all(
        of sender: Domain,
        _ settings: Settings,
        _ resolver: any Resolver,
        at now: Timestamp
    ) async -> [Finding] {
        guard sender.literal == nil else { return [] }
        let policy = await DMARCPolicy.find(sender, resolver)
        return [policy.finding(sender)] + alignment(settings, sender, policy, now) + oneClick(settings.dkim, now)
    }

    /// Whether what vouches for a mail is the domain in From, or one of its house.
    private static func alignment(
        _ settings: Settings,
        _ sender: Domain,
        _ policy: DMARCPolicy,
        _ now: Timestamp
    ) -> [Finding] {
        var findings: [Finding] = []
        let signer = settings.dkim.signing(for: sender, at: now).flatMap { $0.keys.isEmpty ? nil : $0.domain }
        if let signer, policy.fits(signer, sender, isStrict: policy.isDKIMStrict) {
            findings.append(Finding(.good, "alignment", "mail from \(sender) is signed by \(signer)"))
        } else if let signer {
            findings.append(
                Finding(
                    .odd,
                    "alignment",
                    "mail from \(sender) is signed by \(signer), and its policy asks for \(sender) itself (adkim=s)",
                    "Run `martlet dkim generate \(sender)`."
                )
            )
        } else {
            findings.append(
                Finding(
                    .odd,
                    "alignment",
                    "nobody signs mail from \(sender); large providers refuse much mail without that",
                    "Run `martlet dkim generate \(sender)` and publish its record."
                )
            )
        }
        guard let paths = settings.rewriting.returnPaths, paths.senders.contains(sender) else { return findings }
        let domain = paths.address.domain
        if policy.fits(domain, sender, isStrict: policy.isSPFStrict) {
            findings.append(
                Finding(.good, "alignment", "its envelope's sender is of \(domain), which SPF may vouch for")
            )
        } else {
            findings.append(
                Finding(
                    signer == nil ? .bad : .odd,
                    "alignment",
                    "its envelope's sender is of \(domain), which is not of \(sender)'s house: DKIM alone vouches for it",
                    "Let `address` of [bounces] in rewrite.ini be in a domain below \(sender)."
                )
            )
        }
        return findings
    }

    /// Whether the DNS has a name for an address that mail leaves from, and it is the one that EHLO says (RFC 5321 §4.1.4).
    ///
    /// Blocks.
    /// - Parameters:
    ///   - name: what EHLO says from there.
    ///   - lookUp: the reverse name of an address.
    package static func pointer(
        of address: IPAddress,
        called name: Domain,
        _ lookUp: (IPAddress) -> String? = SystemSources.name(of:)
    ) -> Finding {
        let back = lookUp(address)
        return Finding(
            back.map { $0.lowercasedASCII.isSame(octets: name.name) } ?? false ? .good : .bad,
            "PTR",
            back.map { "\(address) is called \($0)" } ?? "\(address) has no name",
            "Have whoever gave you \(address) set its reverse name to \(name.name)."
        )
    }

    /// The same of every address that a mail may leave from, once each.
    ///
    /// Blocks.
    /// - Parameter me: our own name, where nothing else is said.
    package static func pointers(
        of way: Itinerary,
        me: Domain,
        _ lookUp: (IPAddress) -> String? = SystemSources.name(of:),
        system: (IPAddress) -> IPAddress? = SystemSources.source(towards:)
    ) -> [Finding] {
        way.sources(me, system: system).map { source in
            guard !source.address.isLoopback else {
                return Finding(.skipped, "PTR", "\(source.address) is of this machine alone")
            }
            return pointer(of: source.address, called: source.name, lookUp)
        }
    }

    /// Fields that receivers believe only where the signature covers them.
    private static func oneClick(_ dkim: DKIMSettings, _ now: Timestamp) -> [Finding] {
        guard !dkim.domains.isEmpty else { return [] }
        let missing = ["list-unsubscribe", "list-unsubscribe-post"].filter { !dkim.headers.contains($0) }
        guard !missing.isEmpty else {
            return [Finding(.good, "unsubscribe", "signatures cover List-Unsubscribe and List-Unsubscribe-Post")]
        }
        return [
            Finding(
                .odd,
                "unsubscribe",
                "signatures do not cover \(missing.joined(separator: ", ")): one click does not count (RFC 8058 §4)",
                "Add \(missing.joined(separator: ", ")) to headers in dkim.ini."
            )
        ]
    }
}

/// What a domain asks receivers to do with mail that nothing vouches for.
struct DMARCPolicy: Hashable, Sendable {
    /// The domain that has it; nil: there is none.
    var domain: Domain?
    /// `p`.
    var policy = ""
    /// `adkim=s`, `aspf=s`.
    var (isDKIMStrict, isSPFStrict) = (false, false)
    /// Why nobody knows.
    var trouble: String?

    /// The domain's own, or that of the nearest one above it that has one and is not the end of names itself.
    static func find(_ sender: Domain, _ resolver: any Resolver) async -> DMARCPolicy {
        var domain: Domain? = sender
        while let name = domain, name.name.contains(octet: ".") {
            domain = name.parent
            guard let place = Domain("_dmarc.\(name.name)") else { continue }
            do throws(DNSError) {
                let texts = try await resolver.text(of: place).value
                if let found = texts.compactMap({ DMARCPolicy($0, of: name) }).first { return found }
            } catch .noSuchName {
                continue
            } catch {
                return DMARCPolicy(trouble: "\(error)")
            }
        }
        return DMARCPolicy()
    }

    private init(trouble: String? = nil) { self.trouble = trouble }

    /// Reads a record (RFC 7489 §6.3); nil: it is none.
    init?(_ text: String, of domain: Domain) {
        var tags: [String: String] = [:]
        for (index, piece) in text.split(octet: ";").enumerated() {
            let parts = piece.split(octet: "=", maxSplits: 1, omittingEmpty: false)
            guard parts.count == 2 else { continue }
            let (name, value) = (parts[0].trimmed.lowercasedASCII, parts[1].trimmed.lowercasedASCII)
            if index == 0, !name.isSame(octets: "v") || !value.isSame(octets: "dmarc1") { return nil }
            tags[name] = value
        }
        guard tags["v"] != nil, let policy = tags["p"], ["none", "quarantine", "reject"].contains(policy) else {
            return nil
        }
        (self.domain, self.policy) = (domain, policy)
        isDKIMStrict = tags["adkim"].map { $0.isSame(octets: "s") } ?? false
        isSPFStrict = tags["aspf"].map { $0.isSame(octets: "s") } ?? false
    }

    func finding(_ sender: Domain) -> Finding {
        if let trouble { return Finding(.skipped, "DMARC", trouble) }
        if let domain { return Finding(.good, "DMARC", "\(domain) says p=\(policy)") }
        return Finding(
            .odd,
            "DMARC",
            "\(sender) has no policy; large providers ask for one of whoever sends much",
            "Publish _dmarc.\(sender) TXT \"v=DMARC1; p=none; rua=mailto:dmarc@\(sender)\"."
        )
    }

    /// Whether two domains count as one: the same, or, where nobody is strict, one below the other, or both below the one with the
    /// policy.
    func fits(_ other: Domain, _ sender: Domain, isStrict: Bool) -> Bool {
        if other == sender { return true }
        if isStrict { return false }
        func isBelow(_ name: Domain, _ top: Domain) -> Bool { name.name.ends(withOctets: ".\(top.name)") }
        if isBelow(other, sender) { return true }
        if isBelow(sender, other) { return other.name.contains(octet: ".") }
        return domain.map { isBelow(other, $0) || other == $0 } ?? false
    }
}
