// ConfigPath.swift — which files a client of the API may name: those of the configuration directory.
//
// Whoever may change settings may not thereby ask which other files there are, or what is in them, by the errors about them.

import Mail

/// Paths in values that come from a client.
package enum ConfigPath {
    /// Whether a path leads to a place below the configuration directory, whatever that is.
    package static func isBelow(_ path: String) -> Bool {
        !path.isEmpty && !path.starts(withOctets: "/") && !path.contains(octet: "\0")
            && !path.split(octet: "/").contains { $0.isSame(octets: "..") }
    }
}
