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
            let health = try SharedHealth(of: place)
            return health.signs.map { sign in
                Finding(sign.remedy.isEmpty ? .good : sign.isBad ? .bad : .odd, sign.name, sign.detail, sign.remedy)
            } + nodes(health.configs.mapValues { ConfigMarks($0) })
        } catch {
            return [Finding(.bad, "database", "\(error)", "See queue in storage.ini, and whether the server runs.")]
        }
    }

    /// Whether living nodes are set alike.
    static func nodes(_ configs: [String: ConfigMarks]) -> [Finding] {
        let sorted = configs.sorted { $0.key < $1.key }
        guard let first = sorted.first, sorted.count > 1 else { return [] }
        let others = sorted.dropFirst().compactMap { name, marks -> String? in
            let files = marks.differences(from: first.value)
            return files.isEmpty ? nil : "\(name) in \(files.joined(separator: ", "))"
        }
        guard !others.isEmpty else {
            return [Finding(.good, "nodes", "\(sorted.count) nodes are set alike")]
        }
        return [
            Finding(
                .odd,
                "nodes",
                "not set as \(first.key) is: \(others.joined(separator: "; "))",
                "See martlet config show at both; what is meant to differ may."
            )
        ]
    }
}
