// Settings+Start.swift — what keeps a relay from starting although every file can be read: asked by `serve` and by `check`.

import Mail

extension Settings {
    /// Why a relay does not start with these settings; empty when it does.
    package var obstacles: [ConfigError] {
        var found: [ConfigError] = []
        if let trouble = admin.environmentToken?.trouble { found.append(trouble) }
        if !admin.hasTokens {
            found += admin.listen.filter { !$0.ip.isLoopback }.map { address in
                ConfigError(
                    file: environment.pin("listen", in: nil, of: AdminSettings.file) == nil
                        ? AdminSettings.file : Environment.name,
                    reason: "\(address) is reachable from other machines and there is no token to guard the API; "
                        + "martlet token create makes one, or set MARTLET_ADMIN_TOKEN_FILE"
                )
            }
        }
        return found
    }
}
