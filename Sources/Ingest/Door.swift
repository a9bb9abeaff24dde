// Door.swift — what every session of reception shares.

import Config
package import Intake
import Log
package import Logins
import Loop
package import OpenSSL

/// The way in behind the door, the settings in front of it, and who is inside.
package struct Door: Sendable {
    package let intake: Intake
    /// What TLS sessions are made of; nil while there is no certificate.
    package let tls: @Sendable () -> TLSContext?
    /// Who is who.
    package let authenticator: Authenticator
    let slots = ConnectionSlots()
    let sessions = OpenSessions()
    /// What the log is told of clients.
    let book: SessionLog

    /// - Parameter sources: whoever else than the file of users may know a login; nil: nobody.
    package init(
        _ intake: Intake,
        sources: LoginSources? = nil,
        tls: @escaping @Sendable () -> TLSContext? = { nil }
    ) {
        self.intake = intake
        self.tls = tls
        authenticator = Authenticator(settings: intake.settings, sources: sources ?? LoginSources(log: intake.log))
        book = SessionLog(intake.log)
    }

    /// A snapshot of the configuration; never blocks.
    var settings: InForce<Settings> { intake.settings }
    var log: LogSink { intake.log }
}
