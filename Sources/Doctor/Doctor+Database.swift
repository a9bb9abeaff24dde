// Doctor+Database.swift — the database of a queue that several relays share.

import Config
import Departure
import Mail
import Storage

extension Doctor {
    /// What is to be said of the database that `storage.ini` names; nothing, where the queue is a spool.
    static func database(_ patient: Patient) -> [Finding] {
        guard let place = patient.settings.storage.queue?.revealed else { return [] }
        do throws(QueueError) {
            return try SharedHealth(of: place).signs.map { sign in
                Finding(sign.remedy.isEmpty ? .good : sign.isBad ? .bad : .odd, sign.name, sign.detail, sign.remedy)
            }
        } catch {
            return [Finding(.bad, "database", "\(error)", "See queue in storage.ini, and whether the server runs.")]
        }
    }
}
