// Adapters.swift — how rooms that do not know each other understand each other: settings for the queue, damage for the log.

import Config
import DNS
import Delivery
import Departure
import Files
import History
import Log
import Mail
import Queue
import Storage

extension MailQueue.Options {
    init(_ settings: Settings) {
        self.init()
        let outbound = settings.outbound
        origins = settings.outboundPlaces
        concurrencyMax = outbound.concurrencyMax
        concurrencyPerLane = outbound.concurrencyPerLane
        recipientsPerTransaction = outbound.recipientsPerTransaction
        alwaysSplit = outbound.alwaysSplit
        isDisabled = outbound.isDisabled
        laneRestMax = outbound.laneRestMax
        bounceGrace = outbound.bounceGrace
    }
}

extension Spool.Options {
    init(_ events: EventSettings) {
        self.init()
        isFollowed = events.isOn
        journalBytes = events.journalBytes
    }
}

extension CommandFact {
    /// A file was edited from within.
    init(_ edit: Edit) {
        self.init(.configChanged, at: .now())
        actor = edit.actor.isEmpty ? nil : edit.actor
        subject = edit.file.name
        // The lines that changed, behind the three that say where; secrets are not in them.
        let lines = edit.diff.split(octet: "\n").dropFirst(3)
        text = (["\(edit.operation) \(edit.key)"] + lines.map(String.init)).joined(separator: " / ")
    }

    /// A file was edited by somebody.
    init(changed file: String, _ keys: [String]) {
        self.init(.configChanged, at: .now())
        subject = file
        text = keys.isEmpty ? nil : keys.prefix(10).joined(separator: ", ")
    }

    /// What other settings mean for mail.
    static func changes(from before: Settings, to settings: Settings) -> [CommandFact] {
        var facts: [CommandFact] = []
        if before.outbound.isDisabled != settings.outbound.isDisabled {
            let isDisabled = settings.outbound.isDisabled
            var fact = CommandFact(isDisabled ? .outboundDisabled : .outboundEnabled, at: .now())
            if isDisabled, !settings.outbound.disabledReason.isEmpty { fact.text = settings.outbound.disabledReason }
            facts.append(fact)
        }
        if before.routes != settings.routes {
            var fact = CommandFact(.routeChanged, at: .now())
            fact.subject = Routes.file
            facts.append(fact)
        }
        return facts
    }
}

extension UnboundResolver.Options {
    init(_ settings: ResolverSettings) {
        self.init()
        forwarders = settings.forward
        trustAnchorFile = settings.trustAnchorFile
        readsHosts = settings.readsHosts
    }
}

/// Small files of one directory in the data directory, for their owner alone.
///
/// Trouble with the disk costs a request after the next restart and is not worth more than that.
private struct SmallFiles: Sendable {
    private static let largest = 128 << 10
    private let disk = LinuxDisk()
    let directory: String

    func load(_ name: String) -> [UInt8]? {
        try? disk.contents(of: "\(directory)/\(name)", limit: Self.largest)
    }

    /// Answers whether it is on disk.
    func save(_ name: String, _ bytes: [UInt8]) -> Bool {
        do throws(DiskError) {
            try disk.makeDirectory(directory, permissions: 0o700)
            try disk.replace("\(directory)/\(name)", with: bytes, permissions: 0o600)
            return true
        } catch {
            return false
        }
    }
}

extension STSStore {
    /// A file for each domain.
    init(directory: String) {
        let files = SmallFiles(directory: directory)
        self.init(load: { files.load($0.name) }, save: { _ = files.save($0.name, $1) })
    }
}

extension TokenStore {
    /// A file for each grant.
    init(directory: String) {
        let files = SmallFiles(directory: directory)
        self.init(load: { files.load($0) }, save: { files.save($0, $1) })
    }
}

/// The question at start whether DNSSEC works here.
enum ValidationTest {
    static func run(_ resolver: any Resolver, _ zone: String?, _ log: LogSink) async {
        guard let zone else {
            return log.write(.notice, "DNSSEC is off, so DANE protects nothing") {
                $0.add(.reason, "resolver.ini has no trust_anchor_file")
            }
        }
        do throws(DNSError) {
            if try await resolver.isSigned(zone) {
                return log.write(.notice, "DNSSEC works") { $0.add(.domain, zone) }
            }
            fail(zone, "the answer is not signed", log)
        } catch {
            fail(zone, "\(error)", log)
        }
    }

    private static func fail(_ zone: String, _ reason: String, _ log: LogSink) {
        log.write(.error, "DNSSEC does not work through this resolver: mail to signed domains will wait") { line in
            line.add(.domain, zone)
            line.add(.reason, reason)
        }
    }
}

/// Damage and trouble of the spool, as log lines.
enum SpoolLog {
    static func write(_ problem: SpoolProblem, to log: LogSink) {
        log.write(.error, "spool problem") { $0.add(.reason, "\(problem)") }
    }
}

/// Edits from within, as log lines: what was edited and where, never a value.
enum EditLog {
    static func write(_ edit: Edit, to log: LogSink) {
        if edit.isMended {
            log.write(.notice, "configuration file is in order again") { $0.add(.file, edit.file.name) }
        }
        guard edit.isChanged else { return }
        if let reason = edit.isKeptBecause {
            return log.write(.warning, "delivery switch kept in the data directory") { line in
                line.add(.operation, edit.operation)
                line.add(.key, edit.key)
                line.add(.reason, reason)
            }
        }
        log.write(.notice, "configuration edited") { line in
            line.add(.file, edit.file.name)
            line.add(.operation, edit.operation)
            line.add(.key, edit.key)
            line.add(.revision, edit.revision.digest)
            if case .inPlace(let copy) = edit.replacement {
                line.add(.reason, "not atomic, the file is mounted by itself; the old content is in \(copy)")
            }
        }
        for warning in edit.warnings where warning.file == edit.file.name {
            Serve.log(warning, .warning, "configuration looks odd", to: log)
        }
    }
}
