// Wiring+Intake.swift — the one way in, and what it asks: who gets nothing, milters, and who tells senders of recipients that get
// nothing.

import Config
import Delivery
import Filters
import Hooks
import Intake
import Log
import NIOCore
import Queue
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
}
