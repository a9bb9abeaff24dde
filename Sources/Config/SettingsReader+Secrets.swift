// SettingsReader+Secrets.swift — files that hold secrets: read, and refused when too many may read them.

import Mail
import OpenSSL

extension SettingsReader {
    /// `auth_flat_file.ini`: a secret as soon as there is a user in it.
    func readUsers(_ warnings: inout [ConfigError]) throws(ConfigErrors) -> AuthSettings {
        let auth = try keyed(AuthSettings.self, &warnings)
        if auth.users.isEmpty, auth.apps.isEmpty { return auth }
        try guardSecret(AuthSettings.file)
        return auth
    }

    /// `logins.ini`: a secret as soon as there is a password in it.
    func readLogins() throws(ConfigErrors) -> LoginSettings {
        guard let text = try text(LoginSettings.file) else { return LoginSettings() }
        let logins = try LoginSettings.read(INIDocument(parsing: text))
        if logins.directories.contains(where: { $0.bindPassword != nil }) { try guardSecret(LoginSettings.file) }
        return logins
    }

    /// `dkim.ini` and the keys that it names.
    ///
    /// - Parameter files: the names of the keys' files are added.
    func readKeys(_ files: inout Set<String>, _ warnings: inout [ConfigError]) throws(ConfigErrors) -> DKIMSettings {
        var dkim = try keyed(DKIMSettings.self, &warnings)
        var errors: [ConfigError] = []
        func keys(_ domain: Domain, _ selectors: [String]) -> [DKIMSettings.Key] {
            var keys: [DKIMSettings.Key] = []
            for selector in selectors {
                let file = DKIMSettings.keyFile(domain, selector)
                files.insert(file)
                do throws(ConfigErrors) {
                    keys.append(try readKey(file, selector))
                } catch {
                    errors += error.errors
                }
            }
            return keys
        }
        for (domain, selectors) in dkim.selectors {
            let found = keys(domain, selectors)
            if !found.isEmpty { dkim.domains[domain] = found }
        }
        for (domain, selectors) in dkim.nextSelectors where !selectors.isEmpty {
            dkim.rotations[domain, default: DKIMRotation()].next = keys(domain, selectors)
            // Of a domain that has signed nothing so far, too.
            dkim.domains[domain] = dkim.domains[domain] ?? []
        }
        // Times without keys mean nothing.
        dkim.rotations = dkim.rotations.filter { !$0.value.next.isEmpty }
        guard errors.isEmpty else { throw ConfigErrors(errors.sorted { $0.file < $1.file }) }
        return dkim
    }

    private func readKey(_ file: String, _ selector: String) throws(ConfigErrors) -> DKIMSettings.Key {
        func refused(_ reason: String) -> ConfigErrors { ConfigErrors([ConfigError(file: file, reason: reason)]) }
        let bytes: [UInt8]?
        do throws(ConfigError) {
            bytes = try source.contents(of: file, atMost: 64 << 10)
        } catch {
            throw ConfigErrors([error])
        }
        guard let bytes else { throw refused("is missing; martlet dkim generate makes it") }
        try guardSecret(file)
        let key: SigningKey
        do throws(TLSError) {
            key = try SigningKey(pem: bytes)
        } catch {
            throw refused("\(error)")
        }
        switch key.kind {
        case .p256: throw refused("is an ECDSA key; DKIM knows RSA and Ed25519")
        case .rsa(let bits) where bits < 1024: throw refused("is too short: RFC 8301 asks for 1024 bits")
        case .rsa, .ed25519: break
        }
        return DKIMSettings.Key(selector: selector, key: key, text: Secret(String(decoding: bytes, as: UTF8.self)))
    }

    /// Refuses a secret that is open to too many.
    func guardSecret(_ file: String) throws(ConfigErrors) {
        guard let reason = source.exposure(of: file) else { return }
        throw ConfigErrors([ConfigError(file: file, reason: reason)])
    }
}
