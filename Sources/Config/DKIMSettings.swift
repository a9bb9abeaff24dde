// DKIMSettings.swift — `dkim.ini`, typed: whose mail is signed, with which keys, and what a signature covers.

package import Mail
package import OpenSSL

/// `dkim.ini`.
///
/// Each field names its key; the initial value is the documented default.
package struct DKIMSettings: Hashable, Sendable {
    /// A key and the name it is published under.
    package struct Key: Hashable, Sendable {
        /// `selector._domainkey.domain` holds the public half.
        package let selector: String
        package let key: SigningKey
        /// The text of the file: a key is the same as another when this is.
        private let text: Secret

        init(selector: String, key: SigningKey, text: Secret) {
            self.selector = selector
            self.key = key
            self.text = text
        }

        package static func == (a: Key, b: Key) -> Bool { a.selector == b.selector && a.text == b.text }

        package func hash(into hasher: inout Hasher) {
            hasher.combine(selector)
            hasher.combine(text)
        }
    }

    /// `[main] headers`: fields that are signed as often as they are there; in lower case.
    package var headers = [
        "from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references",
        "mime-version", "content-type", "content-transfer-encoding", "list-id", "list-unsubscribe",
        "list-unsubscribe-post",
    ]
    /// `[main] oversign`: fields that nobody may add to.
    package var oversigned: Set<String> = [
        "from", "reply-to", "to", "cc", "subject", "date", "message-id", "mime-version", "content-type",
        "content-transfer-encoding",
    ]
    /// `[domain] selectors`, each with its key.
    package internal(set) var domains: [Domain: [Key]] = [:]
    /// Keys that are to take over, or have.
    package internal(set) var rotations: [Domain: DKIMRotation] = [:]
    /// `[domain] selectors` as they were read, before their keys are.
    var selectors: [Domain: [String]] = [:]
    /// `[domain] next`, the same.
    var nextSelectors: [Domain: [String]] = [:]

    package init() {}

    /// Lets a domain sign with a key, for tests of what comes of it.
    package mutating func add(_ key: SigningKey, as selector: String, of domain: Domain) {
        domains[domain, default: []].append(Key(selector: selector, key: key, text: Secret(selector)))
    }

    /// The domain that signs for an author's domain, and its keys: the domain itself, or the nearest one above it.
    package func signing(for author: Domain, at now: Timestamp = .now()) -> (domain: Domain, keys: [Key])? {
        if domains.isEmpty { return nil }
        var domain: Domain? = author
        while let name = domain {
            if let keys = keys(of: name, at: now) { return (name, keys) }
            domain = name.parent
        }
        return nil
    }

    /// The keys that sign for a domain now; nil: it has no section.
    package func keys(of domain: Domain, at now: Timestamp) -> [Key]? {
        domains[domain].map { rotations.isEmpty ? $0 : rotations[domain]?.keys($0, at: now) ?? $0 }
    }

    /// Where the key of a selector is kept, in the configuration directory.
    package static func keyFile(_ domain: Domain, _ selector: String) -> String {
        "dkim/\(domain.name)/\(selector).pem"
    }

    /// Letters, digits, hyphens and dots (RFC 6376 §3.1): fit for the DNS, and for the name of a file.
    package static func isSelector(_ text: some StringProtocol) -> Bool {
        Domain(text).map { $0.literal == nil && $0.name == text && !text.utf8.contains(0x5F) } ?? false
    }
}

extension DKIMSettings: KeyedSettings {
    package static let file = "dkim.ini"

    package static let keys: [SettingKey<DKIMSettings>] = [
        SettingKey("headers") { (text, target) throws(ValueError) in target.headers = try names(text) },
        SettingKey("oversign") { (text, target) throws(ValueError) in target.oversigned = Set(try names(text)) },
    ]

    package static let quietKeys: [SettingKey<DKIMSettings>] = []

    package static let openKeys = ["selectors", "selector", "next", "sign_from", "keep_days"]

    /// A line of a domain's section.
    package mutating func take(_ entry: INIDocument.Entry) throws(ValueError) -> Bool {
        guard let section = entry.section, section != "main" else { return false }
        guard let domain = Domain(section), domain.literal == nil else {
            throw ValueError("[\(ValueParsing.shown(section))] is no domain")
        }
        switch entry.key {
        case "selectors", "selector":
            guard selectors[domain] == nil else { throw ValueError("\(domain) has selectors already") }
            selectors[domain] = try Self.selectors(entry.value)
        case "next":
            guard nextSelectors[domain] == nil else { throw ValueError("\(domain) has next already") }
            nextSelectors[domain] = try Self.selectors(entry.value)
        case "sign_from":
            guard let time = Timestamp(rfc3339: entry.value) else {
                throw ValueError("\"\(ValueParsing.shown(entry.value))\" is no time such as 2027-01-31T12:00:00Z")
            }
            rotations[domain, default: DKIMRotation()].signFrom = time
        case "keep_days":
            rotations[domain, default: DKIMRotation()].keepDays = try ValueParsing.count(entry.value, 1...365)
        default:
            throw ValueError("unknown key; a domain has selectors, and while keys change next, sign_from, keep_days")
        }
        return true
    }

    private static func selectors(_ text: String) throws(ValueError) -> [String] {
        let found = ValueParsing.list(text).map(String.init)
        for selector in found where !isSelector(selector) {
            throw ValueError(
                "\"\(ValueParsing.shown(selector))\" is no selector: lower-case letters, digits and hyphens"
            )
        }
        guard found.count <= 8, Set(found).count == found.count else {
            throw ValueError("at most eight selectors, each once")
        }
        return found
    }

    /// Names of header fields, in lower case.
    private static func names(_ text: String) throws(ValueError) -> [String] {
        var found: [String] = []
        for piece in ValueParsing.list(text) {
            let name = piece.lowercasedASCII
            guard name.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x3A && $0 != 0x3B }) else {
                throw ValueError("\"\(ValueParsing.shown(piece))\" is no name of a header field")
            }
            if !found.contains(name) { found.append(name) }
        }
        // RFC 6376 §5.4: without it a signature says nothing about the author.
        // characters: all of them are ASCII
        guard found.contains("from") else { throw ValueError("From must be among them") }
        return found
    }
}
