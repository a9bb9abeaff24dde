// TokenGuard+Standing.swift — whether somebody who was let in a while ago would be let in now: streams go on for long, and a
// token that was taken away, or a session that was ended, must not be served until they end by themselves.

import Config
import Loop
import Mail
import OpenSSL

extension TokenGuard {
    /// Whether what a caller showed still stands for all that it stood for.
    static func stands(_ caller: Caller, _ services: AdminServices, at wall: Timestamp = .now()) -> Bool {
        let digest: [UInt8]
        switch caller.proof {
        case .none: return true
        case .token(let own): digest = own
        case .session(let id):
            guard let own = services.sessions.tokenDigest(of: id, at: wall) else { return false }
            digest = own
        }
        return services.settings.inForce.ask { settings in
            if case .digest(let own)? = settings.admin.environmentToken, Secrets.areEqual(own, digest) { return true }
            return settings.admin.tokens.contains { token in
                token.digest.map { Secrets.areEqual($0, digest) } ?? false && isUsable(token, caller.address, wall)
                    && caller.scopes.isSubset(of: token.scopes)
            }
        }
    }
}
