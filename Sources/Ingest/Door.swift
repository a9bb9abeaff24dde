// Door.swift — what every session of reception shares.

package import Config
package import Hooks
package import Log
package import OpenSSL
package import Queue

/// The queue behind the door, the settings in front of it, and who is inside.
package struct Door: Sendable {
    package let queue: MailQueue
    /// A snapshot of the configuration; never blocks.
    package let settings: @Sendable () -> Settings
    /// What TLS sessions are made of; nil while there is no certificate.
    package let tls: @Sendable () -> TLSContext?
    package let log: LogSink
    /// Who is who.
    package let authenticator: Authenticator
    /// Asked before a message is queued.
    package let plugins: PluginChain
    let slots = ConnectionSlots()
    let sessions = OpenSessions()

    package init(
        queue: MailQueue,
        settings: @escaping @Sendable () -> Settings,
        tls: @escaping @Sendable () -> TLSContext? = { nil },
        log: LogSink,
        plugins: PluginChain? = nil
    ) {
        self.plugins = plugins ?? PluginChain([], log: log, deadline: { .seconds(30) })
        self.queue = queue
        self.settings = settings
        self.tls = tls
        self.log = log
        authenticator = Authenticator(settings: settings)
    }
}
