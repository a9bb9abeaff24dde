// Wiring+Gate.swift — the one way in, and who counts what comes by it.

import Config
import Files
import Filters
import Hooks
import Ingest
import Intake
import Logins
import Mail
import Queue
import Suppression

extension Wiring {
    /// Counts mail that comes in.
    var gate: EntryGate { services.intake.gate }

    /// What every way in shares; counts are kept in the data directory, and alarms become events.
    static func intake(
        _ launch: Launch,
        _ queue: MailQueue,
        _ plugins: PluginChain,
        _ suppressions: SuppressionList?,
        _ filters: FilterChain
    ) -> Intake {
        let file = EntryFile(in: launch.dataPath, LinuxDisk())
        return Intake(
            queue: queue,
            plugins: plugins,
            log: launch.log,
            settings: launch.settings.inForce,
            suppressions: suppressions,
            gate: EntryGate(file, queue, log: launch.log),
            filters: filters,
            marks: ArchiveMarks(in: launch.dataPath, LinuxDisk(), log: launch.log)
        )
    }

    /// Whoever else than the file of users may know a login.
    static func sources(_ launch: Launch) -> LoginSources {
        let directory = launch.configPath
        let sources = LoginSources(log: launch.log) { path in
            let whole = path.starts(withOctets: "/") ? path : "\(directory)/\(path)"
            return try? LinuxDisk().contents(of: whole, limit: 256 << 10)
        }
        sources.apply(launch.settings.current)
        return sources
    }

    /// The way in by SMTP.
    static func door(_ intake: Intake, _ sources: LoginSources, _ certificates: CertificatesInForce) -> Door {
        Door(intake, sources: sources, tls: { certificates.current })
    }

    /// Tokens and app passwords that end soon.
    func tellExpiring() {
        for fact in expiry.look(settings.current, at: .now()) { queue.tell(fact) }
    }

    /// Before mail is taken: limits in force, and what was counted under an earlier process.
    ///
    /// Blocks.
    func prepareGate(_ settings: Settings) {
        EntryMetrics.declare()
        gate.recover(at: .now())
        gate.apply(settings.limits.entries)
    }
}
