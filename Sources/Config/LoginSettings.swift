// LoginSettings.swift — `logins.ini`, typed: issuers of access tokens, and directories, that say who may log in.

package import Mail

/// Who else than the file of users may know a login.
package struct LoginSettings: Hashable, Sendable {
    /// `[oauth NAME]`: whose access tokens let somebody in (RFC 7519, 7517, 7628).
    package struct Issuer: Hashable, Sendable {
        package let name: String
        /// `issuer`: the claim `iss`, octet for octet.
        package var issuer = ""
        /// `keys`: a JWKS by URL, or a file's path.
        package var keys = ""
        /// `audience`: one of them is in the claim `aud`.
        package var audiences: [String] = []
        /// `scopes`: all of them are in the claim `scope` or `scp`.
        package var scopes: [String] = []
        /// `user_claim`: who it is.
        package var userClaim = "email"
        /// `leeway`: seconds by which clocks may differ.
        package var leeway = 60
        /// `refresh`: seconds after which keys are fetched again.
        package var refresh = 3600
        /// `timeout`: seconds for one answer.
        package var timeout = 5

        package init(name: String) { self.name = name }
    }

    /// `[ldap NAME]`: a directory where a password is right when it can bind with it (RFC 4513).
    package struct Directory: Hashable, Sendable {
        package let name: String
        /// `url`: `ldap://host:389` or `ldaps://host`.
        package var url = ""
        /// `starttls`.
        package var startsTLS = false
        /// `ca_file`: PEM, instead of the system's.
        package var caFile: String?
        /// `user_dn`: `uid=%u,ou=people,dc=example,dc=org`; nil: it is searched for.
        package var userDN: String?
        /// `base`: where to search.
        package var base: String?
        /// `filter`: `(&(objectClass=person)(mail=%u))`.
        package var filter = "(mail=%u)"
        /// `bind_dn` and `bind_password`: who searches; nil: anybody.
        package var bindDN: String?
        package var bindPassword: Secret?
        /// `timeout`: seconds for one login.
        package var timeout = 5

        package init(name: String) { self.name = name }
    }

    /// In the order of the file.
    package var issuers: [Issuer] = []
    /// In the order of the file.
    package var directories: [Directory] = []

    package init() {}
}
