// DKIMRotation.swift — a key that takes the place of another one without a gap: made and published first, looked at in the DNS, then
// signing from a time on, while the record of the old one stays for mail that is under way.
//
// Guarantees: a key never signs before somebody said from when on; who signs follows from the file and the clock alone, so a
// restart, a kill or a second relay with the same files changes nothing. Pure.

package import Mail
import OpenSSL

/// Keys of a domain that are to take over: `next`, `sign_from` and `keep_days` of its section.
package struct DKIMRotation: Hashable, Sendable {
    /// How far it has come.
    package enum Stage: Hashable, Sendable {
        /// The new keys are there; their records are to be published, and nobody has said from when on they sign.
        case prepared
        /// They sign from then on.
        case scheduled(Timestamp)
        /// They sign; records of the old ones stay in the DNS until then.
        case switched(keptUntil: Timestamp)
        /// Nothing needs the old ones any more.
        case over
    }

    /// `next`: in place of the keys of their kind; RSA for RSA, Ed25519 for Ed25519.
    package var next: [DKIMSettings.Key] = []
    /// `sign_from`; nil: nobody has said so yet.
    package var signFrom: Timestamp?
    /// `keep_days`: how long records of old keys stay in the DNS after the change, days.
    package var keepDays = usualDays

    /// Mail is tried for five days, and receivers look at it later than that.
    package static let usualDays = 14

    /// How far it has come.
    package func stage(at now: Timestamp) -> Stage {
        guard let signFrom else { return .prepared }
        if now < signFrom { return .scheduled(signFrom) }
        let end = signFrom.adding(milliseconds: Int64(keepDays) * 86_400_000)
        return now < end ? .switched(keptUntil: end) : .over
    }

    /// The keys that sign now.
    ///
    /// - Parameter old: `selectors`.
    package func keys(_ old: [DKIMSettings.Key], at now: Timestamp) -> [DKIMSettings.Key] {
        guard let signFrom, now >= signFrom else { return old }
        return next + kept(of: old)
    }

    /// Those of the old keys that go on: no new one is of their kind.
    package func kept(of old: [DKIMSettings.Key]) -> [DKIMSettings.Key] {
        let names = next.map(\.selector)
        return old.filter { key in
            !next.contains { $0.key.isAlike(key.key) } && !names.contains { $0.isSame(octets: key.selector) }
        }
    }
}

extension SigningKey {
    /// Both make signatures of one algorithm.
    fileprivate func isAlike(_ other: SigningKey) -> Bool {
        switch (kind, other.kind) {
        case (.rsa, .rsa), (.ed25519, .ed25519), (.p256, .p256): true
        default: false
        }
    }
}

// MARK: - In the file

/// What the steps of a change make of `dkim.ini`.
package enum DKIMTurn {
    /// The first step: new keys are named, and sign nothing yet.
    package static func prepare(
        _ domain: Domain,
        _ selectors: [String],
        keepDays: Int?,
        in document: inout INIDocument
    ) throws(ConfigError) {
        let section = section(of: domain, document)
        try document.set("next", to: selectors.joined(separator: ", "), in: section)
        document.remove("sign_from", in: section)
        if let keepDays { try document.set("keep_days", to: "\(keepDays)", in: section) }
    }

    /// The second step: they sign from then on.
    package static func schedule(
        _ domain: Domain,
        from time: Timestamp,
        keepDays: Int?,
        in document: inout INIDocument
    ) throws(ConfigError) {
        let section = section(of: domain, document)
        try document.set("sign_from", to: time.rfc3339, in: section)
        if let keepDays { try document.set("keep_days", to: "\(keepDays)", in: section) }
    }

    /// The last step: the new keys are the only ones.
    ///
    /// - Parameter selectors: those that sign from now on.
    package static func finish(
        _ domain: Domain,
        _ selectors: [String],
        in document: inout INIDocument
    ) throws(ConfigError) {
        let section = section(of: domain, document)
        let key = document.value("selector", in: section) == nil ? "selectors" : "selector"
        try document.set(key, to: selectors.joined(separator: ", "), in: section)
        for name in ["next", "sign_from", "keep_days"] { document.remove(name, in: section) }
    }

    private static func section(of domain: Domain, _ document: INIDocument) -> String {
        document.sections.first { Domain($0) == domain } ?? domain.name
    }
}

extension DKIMKeyFiles {
    /// A selector that no key of the domain has, such as `r20270131`, then `r20270131b`.
    package func freshSelector(_ domain: Domain, isRSA: Bool, at now: Timestamp) -> String {
        let name = "\(isRSA ? "r" : "e")\(Self.day(now))"
        let taken = Set(all(atMost: .max).filter { $0.domain == domain }.map(\.selector))
        let endings = [""] + "bcdefghijklmnopqrstuvwxyz".unicodeScalars.map { "\($0)" }
        return endings.map { name + $0 }.first { !taken.contains($0) } ?? "\(name)-\(now.milliseconds)"
    }

    /// `20261122`.
    package static func day(_ time: Timestamp) -> String {
        let parts = time.parts
        let pad = { (number: Int) in (number < 10 ? "0" : "") + String(number) }
        return "\(parts.year)\(pad(parts.month))\(pad(parts.day))"
    }
}
