// HookSettings.swift — `hooks.ini` and `plugin_timeout`, typed: which plugins are on, and which programs answer hooks.

package import Mail

/// Plugins and hook programs.
package struct HookSettings: Hashable, Sendable {
    /// A section of `hooks.ini`: a program that answers hooks over HTTP.
    package struct Endpoint: Hashable, Sendable {
        /// How much of a message is sent along with `queue_outbound`.
        package enum Contents: String, Hashable, Sendable, CaseIterable {
            case none, header, message
        }

        /// The section's name.
        package let name: String
        /// `url`: where questions are posted; with ``unixSocket`` its host only fills the `Host` header.
        package var url = ""
        /// The path of a Unix socket to connect to instead of the URL's host.
        package var unixSocket: String?
        /// `hooks`: those the program answers.
        package var hooks = HookSet()
        /// `auth` is among them: it says who may log in.
        package var answersLogins = false
        /// `auth_tokens`: it is asked about access tokens, too.
        package var takesTokens = false
        /// `timeout`: seconds for one question.
        package var timeout = 5
        /// Hooks without whose answer the mail waits, by `fail` and `fail_HOOK`.
        ///
        /// Where nothing is said, `get_mx` is one: whoever lets a program say where mail goes has no other way for it.
        package var closed: HookSet = .getMX
        /// Hooks with a word of their own, which wins over `fail`.
        var ruled = HookSet()
        /// `contents`.
        package var contents = Contents.none
        /// `breaker_failures`: failures in a row after which the program is left alone; 0 never does.
        package var breakerFailures = 5
        /// `breaker_pause`: seconds for which it is.
        package var breakerPause = 30

        package init(name: String) { self.name = name }
    }

    /// `plugins`: compiled-in plugins that are on, in the order in which they are asked.
    package var plugins: [String] = []
    /// Programs, asked behind the plugins in the order of the file.
    package var endpoints: [Endpoint] = []
    /// The file `plugin_timeout`: seconds that one call of a plugin may take.
    package var timeout = 30

    package init() {}
}
