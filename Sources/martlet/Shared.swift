// Shared.swift — the queue of several relays as the wiring holds it: made from `storage.ini`, and what it says in the log.

import Config
import Log
import Mail
import Storage

extension Wiring {
    /// The store that `storage.ini` names.
    static func store(_ launch: Launch) -> any QueueStore & Journal {
        let settings = launch.settings.current
        guard let options = SharedOptions(settings) else { return spool(launch) }
        return SharedStore(options, directory: "\(launch.dataPath)/node") { [log = launch.log] in
            SharedLog.write($0, to: log)
        }
    }
}

extension SharedOptions {
    /// - Returns: nil where the queue is a spool.
    init?(_ settings: Settings) {
        let storage = settings.storage
        guard let queue = storage.queue else { return nil }
        self.init(place: queue.revealed, node: storage.node ?? (settings.machine ?? settings.me).name)
        mayMigrate = storage.mayMigrate
        patience = Int64(storage.commit) * 1_000
        isFollowed = settings.events.isOn
        version = Version.text
    }
}

/// What a shared queue says to people.
enum SharedLog {
    static func write(_ notice: SharedNotice, to log: LogSink) {
        switch notice {
        case .joined(let number, _):
            log.write(.notice, "node has joined the queue") { $0.add(.count, Int(number)) }
        case .away(let reason):
            log.write(.error, "database is away, mail waits or is refused for now") { $0.add(.error, reason) }
        case .back: log.write(.notice, "database is back") { _ in }
        case .left(let name): log.write(.notice, "node has stopped") { $0.add(.reason, name) }
        case .gone(let name):
            log.write(.warning, "node is gone, others take its mail over") { $0.add(.reason, name) }
        case .adopted(let count):
            log.write(.notice, "mail taken over from nodes that are gone") { $0.add(.count, count) }
        case .wasGivenUp:
            log.write(.error, "others took this node for dead, what waits here is theirs") {
                $0.add(
                    .reason,
                    "the database could not be reached for longer than the lease, or the process stood still"
                )
            }
        case .draining(let isDraining):
            log.write(.notice, isDraining ? "node is drained, its mail goes to the others" : "node takes part again") {
                _ in
            }
        case .handed(let count):
            log.write(.info, "mail given to another node") { $0.add(.count, count) }
        case .withdrawn(let id, let about):
            log.write(.notice, "report withdrawn, its message is another node's") { line in
                line.add(.id, "\(id)")
                line.add(.about, "\(about)")
            }
        case .setAside(let id, let reason):
            log.write(.error, "message set aside") { line in
                line.add(.id, "\(id)")
                line.add(.reason, reason)
            }
        }
    }
}
