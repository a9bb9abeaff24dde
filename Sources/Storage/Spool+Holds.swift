// Spool+Holds.swift — the list of held messages on the disk: a file, and a log of what changed since.
//
// Guarantees: what was saved is there after a power cut, and what could not be saved is there whole or not at all. Saving costs
// the same however many are held; now and then the log becomes part of the file, at the cost of what it has grown by.

import Files
package import Mail
import Synchronization

/// The log as it is written.
struct HoldsWriter: Sendable {
    var file: (any OpenFile)?
    /// Bytes of the log.
    var end = 0
    /// Bytes of the list when it was written last.
    var listed = 0
    /// What is at the end of the log is not known: the list must be written whole.
    var isInDoubt = true
}

extension Spool {
    /// Saves some holds.
    ///
    /// Blocks. One call at a time.
    /// - Parameter all: the whole list with these changes; asked for now and then.
    /// - Throws: ``QueueError``: either of both may be found at the next start.
    package func save(_ changes: [HoldChange], all: () -> [QueueID: Hold]) throws(QueueError) {
        try holdsWriter.withLock { writer throws(QueueError) in
            // Somebody may have removed the log; what is written into it now is not found again.
            if let file = writer.file, (try? file.status().links) ?? 1 == 0 { writer.isInDoubt = true }
            guard !writer.isInDoubt else { return try saveWhole(all(), &writer) }
            do throws(DiskError) {
                try append(HoldsLog.encoded(changes), &writer)
            } catch {
                writer.isInDoubt = true
                throw QueueError(error)
            }
            guard writer.end > max(HoldsLog.short, writer.listed) else { return }
            // The changes are safe where they are: what fails now is tried at the next one.
            do throws(QueueError) { try saveWhole(all(), &writer) } catch {
                context.report(.failed, "holds", "not written anew: \(error)")
                writer.isInDoubt = writer.file == nil
            }
        }
    }

    /// Replaces the whole list.
    package func save(_ holds: [QueueID: Hold]) throws(QueueError) {
        try holdsWriter.withLock { writer throws(QueueError) in try saveWhole(holds, &writer) }
    }

    private func append(_ bytes: [UInt8], _ writer: inout HoldsWriter) throws(DiskError) {
        let file: any OpenFile
        if let open = writer.file {
            file = open
        } else {
            file = try context.disk.open(context.path("holds.log"), .updateOrCreate, permissions: 0o600)
            try context.disk.syncDirectory(context.directory)
            writer.file = file
        }
        try file.write(bytes, at: writer.end)
        try file.sync()
        writer.end += bytes.count
    }

    /// The list first: the log over it says the same, until it is gone.
    private func saveWhole(_ holds: [QueueID: Hold], _ writer: inout HoldsWriter) throws(QueueError) {
        let bytes = HoldsFile.encoded(holds)
        do throws(DiskError) {
            try context.disk.replace(context.path("holds"), with: bytes)
            do throws(DiskError) {
                try context.disk.unlink(context.path("holds.log"))
                try context.disk.syncDirectory(context.directory)
            } catch  where error.isMissing {}
        } catch {
            writer.isInDoubt = true
            throw QueueError(error)
        }
        writer = HoldsWriter(listed: bytes.count, isInDoubt: false)
    }

    package func savedHolds() -> [QueueID: Hold] {
        var holds: [QueueID: Hold] = [:]
        var damaged: [UInt8] = []
        let (list, log): ([UInt8], [UInt8])
        do throws(DiskError) {
            (list, log) = (try contents("holds"), try contents("holds.log"))
        } catch {
            context.report(.failed, "holds", "cannot be read, so nothing is held: \(error)")
            return [:]
        }
        (holds, damaged) = HoldsFile.decoded(list)
        let applied = HoldsLog.apply(log, to: &holds)
        damaged += applied.damaged
        holdsWriter.withLock { writer in
            writer = HoldsWriter(end: log.count, listed: list.count, isInDoubt: applied.isCutOff || !damaged.isEmpty)
        }
        if !damaged.isEmpty {
            // The next change replaces the file. Named by content: the same lines are kept once.
            let name = "holds-\(String(damaged.withUnsafeBytes { CRC32C.of($0) }, radix: 16)).txt"
            let count = damaged.count { $0 == UInt8(ascii: "\n") }
            context.report(.damaged, "holds", "\(count) lines make no sense; set aside as corrupt/\(name)")
            _ = context.setAside(damaged, as: name)
        }
        return holds
    }

    /// The bytes of a file; none where it is missing or beyond all measure.
    private func contents(_ name: String) throws(DiskError) -> [UInt8] {
        let path = context.path(name)
        guard let status = try context.disk.status(path, following: false), status.kind == .file else { return [] }
        guard status.size <= HoldsFile.longest else {
            if context.moveAside(name, as: name) {
                context.report(.damaged, name, "is beyond all measure, so it holds nothing; moved to corrupt/")
            }
            return []
        }
        return try context.disk.open(path, .read, permissions: 0).read(status.size, at: 0)
    }
}
