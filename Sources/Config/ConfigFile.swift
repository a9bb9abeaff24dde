// ConfigFile.swift — the files that are edited from within: by the API, and by sub-commands.

/// A file of the configuration directory that ``SettingsStore/edit(_:expecting:operation:key:_:)`` may change.
package enum ConfigFile: String, Hashable, Sendable, CaseIterable {
    case outbound = "outbound.ini"
    case routes = "routes.ini"
    case outboundIPs = "outbound_ip.ini"
    case admin = "admin.ini"
    case passwords = "auth_flat_file.ini"
    case dkim = "dkim.ini"
    case listener = "smtp.ini"
    /// No INI file: a network a line.
    case relayNetworks = "relay_acl_allow"
    case events = "events.ini"
    case limits = "limits.ini"
    case rewriting = "rewrite.ini"
    case archive = "archive.ini"

    /// The file's name.
    package var name: String { rawValue }
}
