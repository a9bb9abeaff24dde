// SRS.swift — the Sender Rewriting Scheme: senders of mail that is forwarded become addresses of a domain of ours, so that the
// next hop's SPF fits, and reports to them find their way back.
//
//     ann@a.example        SRS0=TAG=DAY=a.example=ann@srs.example
//     SRS0=…@b.example     SRS1=TAG=b.example==…@srs.example
//
// Guarantees: only what carries a tag of ours is turned back, so nobody relays through it; tags are compared in a time that
// tells nothing; letters count alike in both cases, because relays change them. Pure; time is passed in.

package import Mail

/// `[srs]` of `rewrite.ini`.
package struct SRS: Hashable, Sendable {
    /// What an address of the scheme leads to.
    package enum Return: Hashable, Sendable {
        /// It is none of ours.
        case other
        case address(EmailAddress)
        /// It was not made here, or too long ago.
        case refused
    }

    /// `domain`: of the addresses that are made.
    package let domain: Domain
    /// `secret` makes tags, `secret_previous` is still believed; `days`: how long an address leads back.
    private let seal: AddressSeal

    private static let separators: [UInt8] = [UInt8(ascii: "="), UInt8(ascii: "+"), UInt8(ascii: "-")]

    package init(domain: Domain, secrets: [Secret], days: Int) {
        self.init(domain: domain, seal: AddressSeal(secrets: secrets, days: days))
    }

    init(domain: Domain, seal: AddressSeal) {
        self.domain = domain
        self.seal = seal
    }

    /// The sender that mail from this one is forwarded with; the same for one of ours, and one that would be too long.
    package func forwarded(_ sender: EmailAddress, at now: Timestamp) -> EmailAddress {
        guard sender.domain != domain else { return sender }
        let (local, isQuoted) = Self.unquoted(sender.local)
        let text: String
        if let rest = Self.rest(of: local, behind: "srs0") {
            text = "SRS1=\(tagged("\(sender.domain)=\(rest)"))"
        } else if let rest = Self.rest(of: local, behind: "srs1"),
            let equals = rest.dropping(octets: 1).firstIndex(ofOctet: "=")
        {
            // The first who forwarded it gets it back without those between.
            text = "SRS1=\(tagged(String(rest[rest.utf8.index(after: equals)...])))"
        } else {
            text = "SRS0=\(tagged("\(AddressSeal.day(now))=\(sender.domain)=\(local)"))"
        }
        return Self.address(text, isQuoted, domain) ?? sender
    }

    /// Where mail to an address of the scheme goes.
    package func returned(_ recipient: EmailAddress, at now: Timestamp) -> Return {
        guard recipient.domain == domain else { return .other }
        let (local, isQuoted) = Self.unquoted(recipient.local)
        if let rest = Self.rest(of: local, behind: "srs0") {
            guard let text = verified(rest.dropping(octets: 1)) else { return .refused }
            let parts = text.split(octet: "=", maxSplits: 2, omittingEmpty: false)
            guard parts.count == 3, seal.isRecent(parts[0], at: now), let host = Domain(parts[1]),
                let address = Self.address(String(parts[2]), isQuoted, host)
            else { return .refused }
            return .address(address)
        }
        if let rest = Self.rest(of: local, behind: "srs1") {
            guard let text = verified(rest.dropping(octets: 1)) else { return .refused }
            let parts = text.split(octet: "=", maxSplits: 1, omittingEmpty: false)
            guard parts.count == 2, let host = Domain(parts[0]),
                let address = Self.address("SRS0\(parts[1])", isQuoted, host)
            else { return .refused }
            return .address(address)
        }
        return .other
    }

    // MARK: - Parts

    /// `TAG=text`.
    private func tagged(_ text: String) -> String { "\(seal.tag(text))=\(text)" }

    /// What stands behind a tag of ours; nil when it is none.
    private func verified(_ text: Substring) -> String? {
        guard let equals = text.firstIndex(ofOctet: "=") else { return nil }
        let rest = String(text[text.utf8.index(after: equals)...])
        return seal.made(text[..<equals], for: rest) ? rest : nil
    }

    /// The text behind a word and with the separator that stands there.
    private static func rest(of local: String, behind word: String) -> Substring? {
        guard local.lowercasedASCII.starts(withOctets: word) else { return nil }
        let rest = local.dropping(octets: word.utf8.count)
        return rest.utf8.first.map(separators.contains) ?? false ? rest : nil
    }

    private static func unquoted(_ local: String) -> (text: String, isQuoted: Bool) {
        guard local.utf8.first == UInt8(ascii: "\""), local.utf8.count >= 2 else { return (local, false) }
        return (String(decoding: local.utf8.dropFirst().dropLast(), as: UTF8.self), true)
    }

    private static func address(_ local: String, _ isQuoted: Bool, _ domain: Domain) -> EmailAddress? {
        EmailAddress(isQuoted ? "\"\(local)\"@\(domain)" : "\(local)@\(domain)")
    }
}

// MARK: - Reading

extension SRS {
    /// What stands in the brackets.
    static let section = "srs"
    private static let keys = ["domain"] + AddressSeal.Draft.keys

    /// Reads the section.
    ///
    /// - Returns: nil when something is wrong with it, which the report learns.
    static func read(
        _ block: INIDocument.Block,
        _ report: inout SectionReport,
        in surroundings: inout Surroundings
    ) -> SRS? {
        var (domain, draft): (Domain?, AddressSeal.Draft) = (nil, AddressSeal.Draft())
        let errors = report.count
        for entry in block.entries {
            do throws(ValueError) {
                if try draft.take(entry, in: &surroundings) { continue }
                guard entry.key.isSame(octets: "domain") else {
                    throw ValueError(
                        "unknown key \(ValueParsing.shown(entry.key))\(NearestName.hint(for: entry.key, among: keys))"
                    )
                }
                guard let name = Domain(entry.value), name.literal == nil else {
                    throw ValueError(
                        "domain: \"\(ValueParsing.shown(entry.value))\" is not a domain such as srs.example.org"
                    )
                }
                domain = name
            } catch {
                report.fail(entry.line, error.reason)
            }
        }
        guard let domain, let seal = draft.seal else {
            guard report.count == errors else { return nil }
            report.fail(block.line, "[srs] needs domain and secret; the secret may be @file:secrets/NAME or @env:NAME")
            return nil
        }
        return SRS(domain: domain, seal: seal)
    }
}

extension SettingsReader {
    /// `rewrite.ini`, which may hold a secret.
    func readRewriting(_ finding: inout ConfigFinding) throws(ConfigErrors) -> Rewriting {
        guard let document = try document(Rewriting.file) else { return Rewriting() }
        var surroundings = Surroundings(source, environment: environment)
        defer { finding.referenced = surroundings.files }
        let rewriting = try Rewriting.read(document, in: &surroundings)
        if surroundings.hasSecrets { try guardSecret(Rewriting.file) }
        return rewriting
    }
}
