// OAuthProvider.swift — where Microsoft, Google and others give out tokens, and by which of the ways in.
//
// Facts of theirs: Microsoft's device codes take any scope, and a tenant is part of every address; Google's device codes take
// no scope of mail, so that only the way through a browser is left there.

import HTTPClient
import JSON
import Mail

/// A server of tokens, as far as somebody who logs in needs to know it.
package struct OAuthProvider: Hashable, Sendable {
    /// How somebody proves who he is.
    package enum Flow: String, Hashable, Sendable, CaseIterable {
        /// A code that is typed in at another machine (RFC 8628).
        case device
        /// A browser anywhere; its last address is brought back here (RFC 8252, RFC 7636).
        case code
    }

    package var name: String
    package var tokenURL: String
    package var deviceURL: String?
    package var authorizationURL: String?
    /// For SMTP; nil: whoever logs in says it.
    package var scope: String?
    /// For mail over HTTPS; nil: there is no such thing.
    package var apiScope: String?
    package var flow = Flow.device
    /// The next hop for `routes.ini`.
    package var smartHost: String?
    /// Words that the way through a browser needs besides the usual ones.
    package var extra: [String] = []

    /// Microsoft 365.
    ///
    /// - Parameters:
    ///   - tenant: its id or domain.
    ///   - base: of another cloud, such as `https://login.microsoftonline.us`.
    package static func microsoft(tenant: String, at base: String = "https://login.microsoftonline.com") -> Self {
        let place = "\(base)/\(tenant)/oauth2/v2.0"
        return OAuthProvider(
            name: "microsoft",
            tokenURL: "\(place)/token",
            deviceURL: "\(place)/devicecode",
            authorizationURL: "\(place)/authorize",
            scope: "https://outlook.office.com/SMTP.Send offline_access",
            apiScope: "https://graph.microsoft.com/Mail.Send offline_access",
            smartHost: "smtp.office365.com:587"
        )
    }

    /// Google Workspace and Gmail.
    ///
    /// - Parameter base: of a server that stands for Google's; nil: Google.
    package static func google(at base: String? = nil) -> Self {
        OAuthProvider(
            name: "google",
            tokenURL: "\(base ?? "https://oauth2.googleapis.com")/token",
            authorizationURL: "\(base ?? "https://accounts.google.com")/o/oauth2/v2/auth",
            scope: "https://mail.google.com/",
            flow: .code,
            smartHost: "smtp.gmail.com:587",
            extra: ["access_type=offline", "prompt=consent"]
        )
    }

    /// Any other, by what it says of itself at `/.well-known/openid-configuration` (RFC 8414).
    ///
    /// - Returns: nil for what is no such thing, or names addresses that secrets are not sent to.
    package static func described(by body: [UInt8]) -> Self? {
        guard let reply = TokenReply(body), let token = place(reply, "token_endpoint") else { return nil }
        return OAuthProvider(
            name: "oauth",
            tokenURL: token,
            deviceURL: place(reply, "device_authorization_endpoint"),
            authorizationURL: place(reply, "authorization_endpoint")
        )
    }

    private static func place(_ reply: TokenReply, _ name: String) -> String? {
        guard let text = reply[string: name], let url = try? WebURL(text), url.isConfidential else { return nil }
        return text
    }

    /// Days that a provider keeps a refresh token that nobody uses.
    ///
    /// - Returns: nil for one that is not known.
    package static func idleDays(of tokenURL: String) -> Int? {
        guard let host = try? WebURL(tokenURL).host else { return nil }
        switch host {
        // Sovereign clouds have hosts of their own.
        case "login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn",
            "login.microsoft.com", "login.windows.net":
            return 90
        case "oauth2.googleapis.com", "accounts.google.com", "www.googleapis.com": return 180
        default: return nil
        }
    }
}
