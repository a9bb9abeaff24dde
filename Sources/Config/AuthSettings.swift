// AuthSettings.swift — `auth_flat_file.ini`, typed: who may authenticate, how, and what a login is bound to.

package import Mail
import Passwords

/// `auth_flat_file.ini`.
///
/// Each field names its key; the initial value is the documented default.
package struct AuthSettings: Hashable, Sendable {
    /// `[core] methods`, in the order in which they are announced.
    package var methods = SASLMechanism.allCases
    /// `[core] constrain_sender`.
    package var constraint = SenderConstraint.none
    /// `[core] constrain_from`: with a constraint, mail whose `From` the login may not use is refused, not just unsigned.
    package var refusesForeignAuthors = false
    /// `[core] allow_plaintext`: offer AUTH over connections that are not encrypted, to anybody; loopback always may.
    package var allowsPlaintext = false
    /// `[core] max_failures` of one session before 421.
    package var maxFailures = 3
    /// `[core] max_delay`, seconds: the longest that somebody who failed has to wait for the next attempt.
    package var maxDelay = 60
    /// `[users]`: names and passwords.
    package private(set) var users: [String: StoredPassword] = [:]
    /// `[app NAME USER]`: further passwords, by user.
    package internal(set) var apps: [String: [AppPassword]] = [:]
    /// What the passwords have in common, kept because it is asked for with every connection.
    private var areAllPlain = true
    private var hasHashes = false

    package init() {}

    /// Adds a user, or gives one another password.
    package mutating func add(_ user: String, _ password: StoredPassword) {
        users[user] = password
        switch password {
        case .plain: break
        case .scram: areAllPlain = false
        case .hashed: (areAllPlain, hasHashes) = (false, true)
        }
    }

    /// The methods that every user can use: what is announced.
    ///
    /// A client picks one before it says who it is, and many do not try another when it fails.
    package var usableMethods: [SASLMechanism] { usableMethods(asksForPasswords: false, asksForTokens: false) }

    /// The same beside others who say who may log in: they must be shown the password, or a token.
    ///
    /// - Parameters:
    ///   - asksForPasswords: somebody else is asked about passwords.
    ///   - asksForTokens: somebody is asked about access tokens.
    package func usableMethods(asksForPasswords: Bool, asksForTokens: Bool) -> [SASLMechanism] {
        let mustSee = asksForPasswords || !apps.isEmpty
        return methods.filter { method in
            switch method {
            case .plain, .login: mustSee || !users.isEmpty
            case .cramMD5: !mustSee && areAllPlain && !users.isEmpty
            case .scramSHA256: !mustSee && !hasHashes && !users.isEmpty
            case .xoauth2, .oauthBearer: asksForTokens
            }
        }
    }
}

extension AuthSettings: KeyedSettings {
    package static let file = "auth_flat_file.ini"

    package static let keys: [SettingKey<AuthSettings>] = [
        SettingKey("methods", in: "core") { (text, target) throws(ValueError) in
            target.methods = try mechanisms(text)
        },
        SettingKey("constrain_sender", in: "core") { (text, target) throws(ValueError) in
            if text.lowercasedASCII == "domain" {
                target.constraint = .domain
            } else {
                target.constraint = try ValueParsing.boolean(text) ? .login : .none
            }
        },
        SettingKey("constrain_from", in: "core") { (text, target) throws(ValueError) in
            switch text.lowercasedASCII {
            case "unsigned": target.refusesForeignAuthors = false
            case "refuse": target.refusesForeignAuthors = true
            default: throw ValueError("\"\(ValueParsing.shown(text))\" is neither unsigned nor refuse")
            }
        },
        .boolean("allow_plaintext", in: "core", \.allowsPlaintext),
        .count("max_failures", in: "core", \.maxFailures, 1...1000),
        SettingKey("max_delay", in: "core") { (text, target) throws(ValueError) in
            target.maxDelay = try ValueParsing.duration(text, 1...3600)
        },
    ]

    package static let quietKeys: [SettingKey<AuthSettings>] = []

    /// A line of `[users]`.
    package mutating func take(_ entry: INIDocument.Entry) throws(ValueError) -> Bool {
        if let section = entry.section, Self.owns(section) { return try takeApp(entry, section) }
        guard entry.section == "users" else { return false }
        guard entry.key.utf8.count <= 255, !entry.key.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            throw ValueError("the name of a user is at most 255 octets without controls")
        }
        guard users[entry.key] == nil else { throw ValueError("the user has a password already") }
        // The value is never shown.
        guard let password = StoredPassword(entry.value) else {
            throw ValueError(
                "the password is empty, longer than 511 octets, or looks like a hash of a kind that we do not verify"
                    + " ($y$, $6$, $2b$ and SCRAM-SHA-256$ are known); martlet passwd writes a good one"
            )
        }
        // A hash has no blanks; a password may have been meant to have them.
        if case .plain = password, let cut = entry.cut { throw RouteLine.loss("the password", cut, isReferable: false) }
        add(entry.key, password)
        return true
    }

    /// `PLAIN, LOGIN`, in any case of letters.
    private static func mechanisms(_ text: String) throws(ValueError) -> [SASLMechanism] {
        var found: [SASLMechanism] = []
        for name in ValueParsing.list(text) {
            guard let mechanism = SASLMechanism(rawValue: name.uppercasedASCII) else {
                let known = SASLMechanism.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValueError("\"\(ValueParsing.shown(name))\" is none of \(known)")
            }
            if !found.contains(mechanism) { found.append(mechanism) }
        }
        guard !found.isEmpty else { throw ValueError("names no method") }
        return found
    }
}
