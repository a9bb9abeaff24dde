// BulkRule.swift — what the large providers ask of whoever sends much, as far as it can be seen from here: a domain in From that DKIM
// or SPF vouches for (DMARC, RFC 7489), a policy of its own, and fields for one click to unsubscribe that the signature covers
// (RFC 8058). `doctor` and `explain` say the same.

package import Config
package import DNS
package import Mail

/// One of the rules, and how mail of a domain stands to it.
package struct BulkRule: Hashable, Sendable {
    /// How it is.
    package enum State: String, Hashable, Sendable, CaseIterable {
        case good, bad
        /// Works, and is probably not what is wanted.
        case odd
        /// Could not be examined.
        case skipped
    }

    package let state: State
    /// `DMARC`, `alignment`, `unsubscribe`.
    package let name: String
    package let detail: String
    /// What to do; empty when there is nothing.
    package let remedy: String

    fileprivate init(_ state: State, _ name: String, _ detail: String, _ remedy: String = "") {
        (self.state, self.name, self.detail, self.remedy) = (state, name, detail, remedy)
    }
}

extension BulkRule {
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
    ) async -> [BulkRule] {
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
    ) -> [BulkRule] {
        var findings: [BulkRule] = []
        let signer = settings.dkim.signing(for: sender, at: now).flatMap { $0.keys.isEmpty ? nil : $0.domain }
        if let signer, policy.fits(signer, sender, isStrict: policy.isDKIMStrict) {
            findings.append(BulkRule(.good, "alignment", "mail from \(sender) is signed by \(signer)"))
        } else if let signer {
            findings.append(
                BulkRule(
                    .odd,
                    "alignment",
                    "mail from \(sender) is signed by \(signer), and its policy asks for \(sender) itself (adkim=s)",
                    "Run `martlet dkim generate \(sender)`."
                )
            )
        } else {
            findings.append(
                BulkRule(
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
                BulkRule(.good, "alignment", "its envelope's sender is of \(domain), which SPF may vouch for")
            )
        } else {
            findings.append(
                BulkRule(
                    signer == nil ? .bad : .odd,
                    "alignment",
                    "its envelope's sender is of \(domain), which is not of \(sender)'s house: DKIM alone vouches for it",
                    "Let `address` of [bounces] in rewrite.ini be in a domain below \(sender)."
                )
            )
        }
        return findings
    }

    /// Fields that receivers believe only where the signature covers them.
    private static func oneClick(_ dkim: DKIMSettings, _ now: Timestamp) -> [BulkRule] {
        guard !dkim.domains.isEmpty else { return [] }
        let missing = ["list-unsubscribe", "list-unsubscribe-post"].filter { !dkim.headers.contains($0) }
        guard !missing.isEmpty else {
            return [BulkRule(.good, "unsubscribe", "signatures cover List-Unsubscribe and List-Unsubscribe-Post")]
        }
        return [
            BulkRule(
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

    func finding(_ sender: Domain) -> BulkRule {
        if let trouble { return BulkRule(.skipped, "DMARC", trouble) }
        if let domain { return BulkRule(.good, "DMARC", "\(domain) says p=\(policy)") }
        return BulkRule(
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
