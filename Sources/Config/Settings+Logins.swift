// Settings+Logins.swift — who else than the file of users says who may log in, and what that means for what is offered.

package import Mail

extension Settings {
    /// Somebody else is asked about passwords.
    package var asksForPasswords: Bool { hooks.endpoints.contains { $0.answersLogins } || !logins.directories.isEmpty }

    /// Somebody is asked about access tokens.
    package var asksForTokens: Bool {
        hooks.endpoints.contains { $0.answersLogins && $0.takesTokens } || !logins.issuers.isEmpty
    }

    /// What is announced, in the order of the file.
    package var loginMethods: [SASLMechanism] {
        auth.usableMethods(asksForPasswords: asksForPasswords, asksForTokens: asksForTokens)
    }
}
