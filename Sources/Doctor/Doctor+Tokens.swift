// Doctor+Tokens.swift — logins at Microsoft 365, Google and others: passwords that are about to end there, tokens that are not
// to be had, and those that nobody has used for long.

import Config
package import Departure
package import Mail

extension Doctor {
    /// How the tokens of the route table fare, after the visits.
    ///
    /// - Parameters:
    ///   - source: what the visits asked for tokens.
    ///   - now: the time.
    package static func tokens(_ patient: Patient, _ source: TokenSource, at now: Timestamp) -> [Finding] {
        var findings: [Finding] = []
        var known: Set<OAuthGrant> = []
        for (_, route) in patient.settings.routes.all.sorted(by: { $0.key < $1.key }) {
            for mx in route.hosts {
                if let finding = passwordsEnd(mx), !findings.contains(finding) { findings.append(finding) }
                guard let auth = mx.auth, case .grant(let grant) = auth.proof, known.insert(grant).inserted else {
                    continue
                }
                let days = TokenHealth.days(of: grant.tokenURL, settings: patient.settings.outbound.oauthIdleDays)
                findings += judge(
                    source.state(of: grant),
                    grant.refreshToken == nil
                        ? nil : TokenHealth(lastUse: source.lastUse(of: grant, at: now), days: days),
                    user: auth.user,
                    at: now
                )
            }
        }
        return findings
    }

    /// A host that will take no passwords soon.
    static func passwordsEnd(_ mx: MX) -> Finding? {
        guard case .password? = mx.auth?.proof, mx.auth?.mechanism?.takesToken != true,
            ["smtp.office365.com", "smtp-mail.outlook.com", "outlook.office365.com"].contains(mx.hostName)
        else { return nil }
        return Finding(
            .odd,
            "login",
            "\(mx.exchange) takes passwords of existing tenants until the end of December 2026 only",
            "Run `martlet oauth login microsoft` and put the lines it prints in place of auth_pass; see MicrosoftAndGoogle."
        )
    }

    /// One grant.
    ///
    /// - Parameters:
    ///   - state: nil: nobody has asked for a token.
    ///   - health: nil: there is no refresh token.
    static func judge(_ state: TokenState?, _ health: TokenHealth?, user: String, at now: Timestamp) -> [Finding] {
        var findings: [Finding] = []
        if let state {
            if let trouble = state.trouble {
                findings.append(Finding(.bad, "access token", "\(user): \(trouble)", remedy(state.word)))
            } else if let end = state.expires {
                let minutes = max(0, end.milliseconds(since: now) / 60_000)
                findings.append(Finding(.good, "access token", "\(user) has one, for \(minutes) minutes"))
            }
        }
        if let health, let end = health.end, health.isExpiring(at: now) {
            let days = end.milliseconds(since: now) / 86_400_000
            findings.append(
                Finding(
                    days < 0 ? .bad : .odd,
                    "refresh token",
                    "\(user): not used for \(health.idle(at: now) / 86_400_000) days, "
                        + (days < 0 ? "which ends it" : "and it ends in \(days) days without a use"),
                    "Mend what keeps access tokens away, or run `martlet oauth login` again."
                )
            )
        }
        return findings
    }

    /// What helps when a token server refuses (RFC 6749 §5.2).
    private static func remedy(_ word: String?) -> String {
        switch word {
        case "invalid_grant":
            "The refresh token is revoked or has ended: run `martlet oauth login` again, with --force."
        case "invalid_client":
            "oauth_client_secret is wrong or has ended: make a new one where the application is registered."
        case "unauthorized_client", "access_denied":
            "Where the application is registered, allow it this grant and have an administrator consent to it."
        case "invalid_scope": "Correct oauth_scope; for an application it ends with /.default."
        case nil: "See that this machine reaches the host of oauth_token_url by https."
        default: "See oauth_… of the route, and what the provider says about that word."
        }
    }
}
