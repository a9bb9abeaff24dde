// AppPassword.swift — `[app NAME USER]` of `auth_flat_file.ini`: a password for one program of a user, with bounds and an end.
//
// The relay makes it up itself, from 160 random bits: a fast hash is right for it (as for tokens of the API), and nobody guesses
// one. Shown once, kept as its hash.

package import Mail
import OpenSSL

/// A password for one program.
package struct AppPassword: Hashable, Sendable {
    package let name: String
    package let user: String
    /// SHA-256; nil for one without: it lets nobody in.
    package var digest: [UInt8]?
    /// What it may use as sender; nil: what the user may.
    package var senders: [String]?
    /// Networks that it may be used from; empty: any.
    package var networks: [IPNetwork] = []
    /// nil: never.
    package var expires: Timestamp?

    package init(name: String, user: String) { (self.name, self.user) = (name, user) }

    /// Why it may not be used; nil when it may.
    package func complaint(from client: IPAddress?, at now: Timestamp) -> String? {
        if let expires, expires <= now { return "the app password \(name) expired at \(expires.rfc3339)" }
        let isNear = networks.isEmpty || client.map { ip in networks.contains { $0.contains(ip) } } ?? false
        return isNear ? nil : "the app password \(name) is not for this address"
    }

    /// The section that it stands in.
    package var section: String { Self.section(name, of: user) }

    /// The section of an app password.
    package static func section(_ name: String, of user: String) -> String { "app \(name) \(user)" }

    /// The words of a list as people write one, separated by commas.
    package static func words(_ text: String) -> [String] { ValueParsing.list(text).map { String($0) } }

    /// A new one, and what is kept of it.
    ///
    /// - Returns: nil when there is no randomness.
    package static func make() -> (secret: String, hash: String)? {
        guard let bytes = try? Secrets.random(20) else { return nil }
        let secret = "ma_\(bytes.hexadecimal)"
        return (secret, "sha256:\(Digest.sha256(Array(secret.utf8)).hexadecimal)")
    }
}

/// What somebody asks an app password to be; whoever makes one, by whichever door, checks it here.
package struct AppPasswordWish: Hashable, Sendable {
    /// What is wrong with it: the end of a sentence that begins with what it is about.
    package enum Fault: Error, Hashable, Sendable {
        case name
        case user
        /// Which of the senders.
        case sender(Int)
        /// Which of the networks.
        case network(Int)
        case end

        package var reason: String {
            switch self {
            case .name: "has other octets than letters, digits, dots, hyphens, underscores"
            case .user: "is no name of a user"
            case .sender, .network: "is not understood"
            case .end: "is no time to come, such as 2030-01-31T12:00:00Z"
            }
        }
    }

    let name: String
    let user: String
    let senders: [String]
    let networks: [String]
    let expires: Timestamp?
    let made: Timestamp

    /// - Parameters:
    ///   - senders: addresses and domains it may send as; empty: what the user may.
    ///   - networks: where it may be used from; empty: anywhere.
    package init(
        _ name: String,
        of user: String,
        senders: [String],
        networks: [String],
        expires: Timestamp?,
        at now: Timestamp
    ) throws(Fault) {
        if let place = senders.firstIndex(where: { SenderConstraint.pattern($0) == nil }) { throw .sender(place) }
        if let place = networks.firstIndex(where: { IPNetwork($0) == nil }) { throw .network(place) }
        if let expires, expires <= now { throw .end }
        guard AdminSettings.isTokenName(name) else { throw .name }
        guard case .login? = EntryScope("login", user) else { throw .user }
        (self.name, self.user, self.senders, self.networks) = (name, user, senders, networks)
        (self.expires, made) = (expires, now)
    }
}

extension AppPassword {
    /// Whether the file of users has one of a name.
    package static func isThere(_ name: String, of user: String, in document: INIDocument) -> Bool {
        document.sections.contains { $0.isSame(octets: section(name, of: user)) }
    }

    /// Writes a new one into the file of users.
    ///
    /// - Throws: where there is one of that name, and for what the file cannot hold.
    package static func add(
        _ wish: AppPasswordWish,
        hash: String,
        to document: inout INIDocument
    ) throws(ConfigError) {
        guard !isThere(wish.name, of: wish.user, in: document) else {
            throw ConfigError(file: AuthSettings.file, reason: "there is an app password \(wish.name) of \(wish.user)")
        }
        let section = section(wish.name, of: wish.user)
        try document.set("hash", to: hash, in: section)
        for (key, words) in [("senders", wish.senders), ("networks", wish.networks)] where !words.isEmpty {
            try document.set(key, to: words.joined(separator: ", "), in: section)
        }
        if let expires = wish.expires { try document.set("expires", to: expires.rfc3339, in: section) }
        try document.set("created", to: wish.made.rfc3339, in: section)
    }

    /// Takes one away.
    ///
    /// - Returns: false when there is none.
    package static func remove(_ name: String, of user: String, from document: inout INIDocument) -> Bool {
        guard isThere(name, of: user, in: document) else { return false }
        document.removeSection(section(name, of: user))
        return true
    }
}

extension AuthSettings {
    package static let ownKeys = ["hash", "senders", "networks", "expires", "created"]
    package static let openKeys = ["senders", "networks", "expires", "created"]

    /// `[app NAME USER]`.
    package static func owns(_ section: String) -> Bool { section.starts(withOctets: "app ") }

    /// The app password of a user that fits; compared with all of them, always over all octets.
    package func app(_ password: [UInt8], of user: String) -> AppPassword? {
        guard let own = apps[user] else { return nil }
        let digest = Digest.sha256(password)
        var found: AppPassword?
        for app in own where Secrets.areEqual(app.digest ?? [], digest) { found = app }
        return found
    }

    /// Whether an app password is still there, and may still be used.
    package func has(app name: String, of user: String, at now: Timestamp) -> Bool {
        apps[user]?.contains { $0.name.isSame(octets: name) && $0.expires.map { $0 > now } ?? true } ?? false
    }

    /// Takes a line of a section of an app password.
    mutating func takeApp(_ entry: INIDocument.Entry, _ section: String) throws(ValueError) -> Bool {
        let words = section.utf8.split(separator: 0x20, maxSplits: 2, omittingEmptySubsequences: true)
            .map { String(Substring($0)) }
        guard words.count == 3, AdminSettings.isTokenName(words[1]), words[2].utf8.count <= 255 else {
            throw ValueError(
                "the section is not [app NAME USER] with a name of letters, digits, dots, hyphens or underscores"
            )
        }
        let (name, user) = (words[1], words[2])
        let place = apps[user, default: []].firstIndex { $0.name.isSame(octets: name) }
        var app = place.map { apps[user, default: []][$0] } ?? AppPassword(name: name, user: user)
        switch entry.key {
        case "hash": app.digest = try AdminSettings.digest(entry.value)
        case "senders":
            var senders: [String] = []
            for piece in ValueParsing.list(entry.value) {
                guard let pattern = SenderConstraint.pattern(String(piece)) else {
                    throw ValueError("\"\(ValueParsing.shown(piece))\" is neither an address nor a domain")
                }
                senders.append(pattern)
            }
            app.senders = senders
        case "networks": app.networks = try AdminSettings.networks(entry.value)
        case "expires":
            guard entry.value.isSame(octets: "never") || Timestamp(rfc3339: entry.value) != nil else {
                throw ValueError("\"\(ValueParsing.shown(entry.value))\" is not a time such as 2027-01-31T12:00:00Z")
            }
            app.expires = Timestamp(rfc3339: entry.value)
        case "created": break
        default: return false
        }
        if let place { apps[user]?[place] = app } else { apps[user, default: []].append(app) }
        return true
    }
}
