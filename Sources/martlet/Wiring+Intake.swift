// Wiring+Intake.swift — the one way in, and what it asks: the queue, who gets nothing, milters, and who tells senders of recipients
// that get nothing.

import Config
import Delivery
import Filters
import Hooks
import Intake
import Log
import NIOCore
import Process
import Queue
import Storage
import Suppression

extension Wiring {
    /// Without it mail goes on; the log says that nobody is held back.
    static func suppressions(_ launch: Launch) -> SuppressionList? {
        do throws(SuppressionError) {
            return try SuppressionList(path: "\(launch.dataPath)/suppressions.db") { [settings = launch.settings] in
                settings.current.suppressions.isHashed
            }
        } catch {
            launch.log.write(.error, "there is no suppression list: mail goes to everybody") { line in
                line.add(.error, "\(error)")
            }
            return nil
        }
    }

    /// Settles what was sent, and writes reports: also about messages that were removed, and recipients that milters refuse.
    static func settler(_ intake: Intake, _ loop: any EventLoop) -> Settler {
        let settler = Settler(intake, loop: loop)
        intake.queue.setReporter { message, reason, tray in
            await settler.reportRemoval(of: message, because: reason, into: tray)
        }
        intake.refusals.use { await settler.report($0) }
        return settler
    }

    /// The queue of one relay alone.
    static func spool(_ launch: Launch) -> Spool {
        var options = Spool.Options(launch.settings.current.events)
        options.recoversBehind = true
        return Spool(directory: "\(launch.dataPath)/queue", options: options) { [log = launch.log] in
            SpoolLog.write($0, to: log)
        }
    }

    /// One loop does as well as two on two processors; beyond that, one for two.
    static func threads(_ listener: ListenerSettings) -> Int {
        listener.threads > 0 ? listener.threads : max(1, System.coreCount / 2)
    }
}
