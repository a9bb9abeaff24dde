// SRS.swift — the Sender Rewriting Scheme: senders of mail that is forwarded become addresses of a domain of ours, so that the
// next hop's SPF fits, and reports to them find their way back.
//
//     ann@a.example        SRS0=TAG=DAY=a.example=ann@srs.example
//     SRS0=…@b.example     SRS1=TAG=b.example==…@srs.example
//
// Guarantees: only what carries a tag of ours is turned back, so nobody relays through it; tags are compared in a time that
// tells nothing; letters count alike in both cases, because relays change them. Pure; time is passed in.

package import Mail
import OpenSSL

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
    /// `secret` makes tags, `secret_previous` is still believed.
    package let secrets: [Secret]
    /// `days`: how long an address leads back.
    package let days: Int

    private static let letters = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)
    private static let separators: [UInt8] = [UInt8(ascii: "="), UInt8(ascii: "+"), UInt8(ascii: "-")]
    /// Days that two letters tell apart.
    private static let cycle: Int64 = 1024

    package init(domain: Domain, secrets: [Secret], days: Int) {
        self.domain = domain
        self.secrets = secrets
        self.days = days
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
            text = "SRS0=\(tagged("\(Self.day(now))=\(sender.domain)=\(local)"))"
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
            guard parts.count == 3, isRecent(parts[0], at: now), let host = Domain(parts[1]),
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
    private func tagged(_ text: String) -> String { "\(secrets.first.map { Self.tag(text, $0) } ?? "")=\(text)" }

    /// What stands behind a tag of ours; nil when it is none.
    private func verified(_ text: Substring) -> String? {
        guard let equals = text.firstIndex(ofOctet: "=") else { return nil }
        let tag = Array(text[..<equals].lowercasedASCII.utf8)
        let rest = String(text[text.utf8.index(after: equals)...])
        var isOurs = false
        // All of them, so that nobody learns which one it was.
        for secret in secrets where Secrets.areEqual(tag, Array(Self.tag(rest, secret).utf8)) { isOurs = true }
        return isOurs ? rest : nil
    }

    /// 40 bits in eight letters.
    private static func tag(_ text: String, _ secret: Secret) -> String {
        let key = Array(secret.revealed.utf8)
        let hash = KeyedHash.hmac(.sha256, key: key, message: Array(text.lowercasedASCII.utf8))
        let bits = hash.prefix(5).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return String(decoding: (0..<8).map { letters[Int(bits >> UInt64(35 - 5 * $0) & 31)] }, as: UTF8.self)
    }

    private static func number(of now: Timestamp) -> Int64 {
        let day = now.milliseconds / 86_400_000
        return (day % cycle + cycle) % cycle
    }

    private static func day(_ now: Timestamp) -> String {
        let number = Int(number(of: now))
        return String(decoding: [letters[number >> 5], letters[number & 31]], as: UTF8.self)
    }

    private func isRecent(_ text: some StringProtocol, at now: Timestamp) -> Bool {
        let places = text.lowercasedASCII.utf8.compactMap { Self.letters.firstIndex(of: $0) }
        guard text.utf8.count == 2, places.count == 2 else { return false }
        let age = (Self.number(of: now) - Int64(places[0] << 5 | places[1]) + Self.cycle) % Self.cycle
        // One day more than now: clocks of several relays differ.
        return age <= Int64(days) || age == Self.cycle - 1
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
    private static let keys = ["domain", "secret", "secret_previous", "days"]

    /// Reads the section.
    ///
    /// - Returns: nil when something is wrong with it, which the report learns.
    static func read(
        _ block: INIDocument.Block,
        _ report: inout SectionReport,
        in surroundings: inout Surroundings
    ) -> SRS? {
        var (domain, days): (Domain?, Int) = (nil, 21)
        var secrets: [String: Secret] = [:]
        let errors = report.count
        for entry in block.entries {
            do throws(ValueError) {
                switch entry.key {
                case "domain":
                    guard let name = Domain(entry.value), name.literal == nil else {
                        throw ValueError(
                            "domain: \"\(ValueParsing.shown(entry.value))\" is not a domain such as srs.example.org"
                        )
                    }
                    domain = name
                case "secret", "secret_previous":
                    let secret = try surroundings.secret(entry.value)
                    guard secret.revealed.utf8.count >= 16 else {
                        throw ValueError("\(entry.key): has less than 16 octets")
                    }
                    secrets[entry.key] = secret
                case "days": days = try ValueParsing.count(entry.value, 1...365)
                default:
                    throw ValueError(
                        "unknown key \(ValueParsing.shown(entry.key))\(NearestName.hint(for: entry.key, among: keys))"
                    )
                }
            } catch {
                report.fail(entry.line, error.reason)
            }
        }
        guard let domain, let secret = secrets["secret"] else {
            guard report.count == errors else { return nil }
            report.fail(block.line, "[srs] needs domain and secret; the secret may be @file:secrets/NAME or @env:NAME")
            return nil
        }
        return SRS(domain: domain, secrets: [secret] + [secrets["secret_previous"]].compactMap(\.self), days: days)
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
