// SpoolContext.swift — what all parts of the spool share: the disk, the paths, the open segments, the way to report.

import Files
import Mail
import NIOCore
import Synchronization

/// Something a human should know about the spool.
package struct SpoolProblem: Hashable, Sendable, CustomStringConvertible {
    /// What happened.
    package enum Kind: Hashable, Sendable {
        /// A record or file was unreadable; what there was is under `corrupt/`.
        case damaged
        /// The last batch before a crash was cut off; nobody was told that it was accepted.
        case tornTail
        /// A file that is not ours was moved to `corrupt/`, or left alone when it could not be moved.
        case foreign
        /// A system call failed.
        case failed
    }

    package let kind: Kind
    /// Path below the queue directory.
    package let path: String
    package let text: String

    package var description: String { "\(path): \(text)" }
}

final class SpoolContext: Sendable {
    let disk: any Disk
    let directory: String
    let options: Spool.Options
    let report: @Sendable (SpoolProblem) -> Void

    /// Ids of live messages whose body is a file of its own; few.
    let large = Mutex<Set<QueueID>>([])

    private struct Entry {
        let stamp: SegmentStamp
        /// Nil while closed to save descriptors.
        var file: (any OpenFile)?
    }

    private struct Table {
        var entries: [UInt32: Entry] = [:]
        /// Sequences whose file is open, the one opened first in front.
        var open: [UInt32] = []
    }

    private let table = Mutex(Table())

    init(disk: any Disk, directory: String, options: Spool.Options, report: @escaping @Sendable (SpoolProblem) -> Void)
    {
        self.disk = disk
        self.directory = directory
        self.options = options
        self.report = report
    }

    func path(_ name: String) -> String { "\(directory)/\(name)" }
    func path(_ sequence: UInt32) -> String { path(SegmentFile.name(sequence)) }
    var largeDirectory: String { path("large") }
    var corruptDirectory: String { path("corrupt") }
    func largePath(_ id: QueueID) -> String { path("large/\(id).eml") }

    func report(_ kind: SpoolProblem.Kind, _ path: String, _ text: String) {
        StorageMetrics.count(kind)
        report(SpoolProblem(kind: kind, path: path, text: text))
    }

    // MARK: Open segments

    func register(_ stamp: SegmentStamp, _ file: any OpenFile) {
        table.withLock { table in
            table.entries[stamp.sequence] = Entry(stamp: stamp, file: file)
            Self.limit(&table, adding: stamp.sequence, to: options.openSegments)
        }
    }

    func forget(_ sequence: UInt32) {
        table.withLock { table in
            table.entries[sequence] = nil
            table.open.removeAll { $0 == sequence }
        }
    }

    /// The oldest segment from a number on.
    func sequence(from least: UInt32) -> UInt32? {
        table.withLock { table in table.entries.keys.filter { $0 >= least }.min() }
    }

    func knows(_ sequence: UInt32) -> Bool { table.withLock { $0.entries[sequence] != nil } }

    /// A segment to read from, or nil when it was recycled.
    func segment(_ sequence: UInt32) throws(DiskError) -> (stamp: SegmentStamp, file: any OpenFile)? {
        let entry = table.withLock { $0.entries[sequence] }
        guard let entry else { return nil }
        if let file = entry.file { return (entry.stamp, file) }
        let file = try disk.open(path(sequence), .update, permissions: 0)
        table.withLock { table in
            guard table.entries[sequence]?.stamp == entry.stamp else { return }
            table.entries[sequence]?.file = file
            Self.limit(&table, adding: sequence, to: options.openSegments)
        }
        return (entry.stamp, file)
    }

    private static func limit(_ table: inout Table, adding sequence: UInt32, to limit: Int) {
        if !table.open.contains(sequence) { table.open.append(sequence) }
        while table.open.count > limit { table.entries[table.open.removeFirst()]?.file = nil }
    }

    // MARK: Setting aside

    /// Keeps bytes that nobody could make sense of, for a human.
    ///
    /// - Returns: false when they could not be written; then the original must stay where it is.
    func setAside(_ bytes: [UInt8], as name: String) -> Bool {
        let target = path("corrupt/\(name)")
        do throws(DiskError) {
            if try disk.status(target, following: false) != nil { return true }  // from an earlier start
            let file = try disk.open(target, .create, permissions: 0o600)
            try file.write(bytes, at: 0)
            try file.sync()
            try disk.syncDirectory(corruptDirectory)
            return true
        } catch {
            report(.failed, "corrupt/\(name)", "could not be written: \(error)")
            return false
        }
    }

    /// Moves a whole file or directory to `corrupt/` under a name that is free there.
    func moveAside(_ name: String, as wanted: String) -> Bool {
        do throws(DiskError) {
            var target = path("corrupt/\(wanted)")
            var number = 0
            while try disk.status(target, following: false) != nil {
                number += 1
                target = path("corrupt/\(wanted)-\(number)")
            }
            try disk.rename(path(name), to: target)
            return true
        } catch {
            report(.failed, name, "could not be moved to corrupt/: \(error)")
            return false
        }
    }
}

extension QueueError {
    init(_ error: DiskError) {
        self = error.isFull ? .full(error.description) : .broken(error.description + error.remedy)
    }
}
