// EventFile.swift — events as lines of JSON in a file, for programs that ship files: `{id, seq, type, time, node, data}`.
//
// Guarantees: each event of the history stands there once, in order, over restarts and kills: the file itself says which was
// the last, and a line that was cut off is removed before the next is written. The place that is kept in the history stands in
// where the file is gone. It is not synced, since that would take the disk from mail: a power cut may leave a hole of what the
// system had not written. A full file becomes `FILE.1`, and older ones move up; one that somebody moved away is begun anew.
// Mail never waits for it, a disk that is full is tried again, and a file that holds something else is left alone.

package import Files
package import History
import JSON
package import Log
import Mail
package import NIOPosix
import Synchronization

/// Writes every event into a file.
package final class EventFile: Sendable {
    /// Where to, and how much.
    package struct Options: Hashable, Sendable {
        package let path: String
        /// Bytes after which a file is full.
        package let bytes: Int
        /// Full files that are kept.
        package let count: Int

        package init(path: String, bytes: Int, count: Int) {
            (self.path, self.bytes, self.count) = (path, bytes, count)
        }
    }

    private struct State: Sendable {
        /// The last event that was written; nil: not known yet.
        var seq: UInt64?
        var kept: UInt64 = 0
        var isTurning = false
        var mustTurn = false
        var isStopped = false
        var isTroubleTold = false
        var token: NewsToken?
    }

    /// The place in the history.
    static let cursor = "file"
    /// Events that are read at once.
    private static let page = 500
    /// Bytes in which the end of the last line is looked for; no event is as long.
    private static let longestLine = 1 << 20

    private let options: Options
    private let events: any EventReader
    private let disk: any Disk
    private let thread: NIOThreadPool
    private let log: LogSink
    private let state = Mutex(State())
    /// One step at a time: the end has one of its own.
    private let writing = Mutex(())

    /// - Parameter thread: one, which may block.
    package init(_ options: Options, of events: any EventReader, on disk: any Disk, thread: NIOThreadPool, log: LogSink)
    {
        (self.options, self.events, self.disk, self.thread, self.log) = (options, events, disk, thread, log)
    }

    /// Begins to write.
    package func start() {
        let token = events.onNews { [weak self] in self?.turn() }
        state.withLock { $0.token = token }
        turn()
    }

    /// Writes what there is, and no more after that.
    ///
    /// Blocks.
    package func stop() {
        let token = state.withLock { state in
            defer { state.token = nil }
            return state.token
        }
        withExtendedLifetime(token) {}
        step()
        state.withLock { $0.isStopped = true }
    }

    /// Once a second: a disk that was full may have room.
    package func tick() { if state.withLock({ $0.isTroubleTold }) { turn() } }

    private func turn() {
        let mustSubmit = state.withLock { state in
            state.mustTurn = state.isTurning
            guard !state.isTurning, !state.isStopped else { return false }
            state.isTurning = true
            return true
        }
        guard mustSubmit else { return }
        thread.submit { [self] _ in
            repeat {
                step()
            } while state.withLock { state in
                defer { state.mustTurn = false }
                state.isTurning = state.mustTurn && !state.isStopped
                return state.isTurning
            }
        }
    }

    /// Writes what is new; what fails is tried again.
    private func step() {
        do {
            try writing.withLock { _ in while try writePage() {} }
            state.withLock { $0.isTroubleTold = false }
        } catch {
            guard state.withLock({ exchange(&$0.isTroubleTold, with: true) }) == false else { return }
            log.write(.error, "events cannot be written to their file; it is tried again") { line in
                line.add(.file, options.path)
                line.add(.reason, "\(error)")
            }
        }
    }

    /// - Returns: whether there may be more.
    private func writePage() throws -> Bool {
        guard !state.withLock({ $0.isStopped }) else { return false }
        let known = state.withLock { $0.seq }
        let seq = try known ?? position()
        let page: EventPage
        do throws(HistoryError) {
            page = try events.events(after: seq, matching: EventFilter(), atMost: Self.page)
        } catch {
            guard case .tooOld(let oldest) = error else { throw error }
            passOver(from: seq, to: oldest)
            return true
        }
        if !page.events.isEmpty {
            var bytes: [UInt8] = []
            for event in page.events {
                event.json.write(to: &bytes)
                bytes.append(0x0A)
            }
            try append(bytes)
        }
        state.withLock { $0.seq = page.last }
        try keep(page.last, isAtEnd: page.isAtEnd)
        return !page.isAtEnd
    }

    private func passOver(from seq: UInt64, to oldest: UInt64) {
        log.write(.warning, "events are gone that were not written to their file yet") { line in
            line.add(.file, options.path)
            line.add(.count, Int(clamping: oldest - seq - 1))
        }
        state.withLock { $0.seq = oldest - 1 }
    }

    /// The place is kept for the day when the file is gone, and not at each page.
    private func keep(_ seq: UInt64, isAtEnd: Bool) throws(HistoryError) {
        let kept = state.withLock { $0.kept }
        guard kept == 0 || seq - kept >= 10_000 || isAtEnd && seq - kept >= 100 else { return }
        try events.keep(EventCursor(name: Self.cursor, seq: seq))
        state.withLock { $0.kept = seq }
    }

    private func append(_ bytes: [UInt8]) throws(DiskError) {
        var file = try disk.open(options.path, .updateOrCreate, permissions: 0o640)
        var size = try file.status().size
        if size > 0, size + bytes.count > options.bytes {
            try file.sync()
            try rotate()
            file = try disk.open(options.path, .updateOrCreate, permissions: 0o640)
            size = try file.status().size
        }
        do throws(DiskError) {
            try file.write(bytes, at: size)
        } catch {
            // Half a line would be taken for the end of the file after a restart.
            try file.truncate(to: size)
            throw error
        }
    }

    private func rotate() throws(DiskError) {
        for number in stride(from: options.count, through: 1, by: -1) {
            let older = number == 1 ? options.path : "\(options.path).\(number - 1)"
            guard try disk.status(older, following: false) != nil else { continue }
            try disk.rename(older, to: "\(options.path).\(number)")
        }
        if options.count == 0 { try disk.unlink(options.path) }
    }

    // MARK: - Where to go on

    /// The last event that stands in the file, or in the one before it; else the place that was kept; else now.
    private func position() throws -> UInt64 {
        for path in [options.path, "\(options.path).1"] {
            if let seq = try lastEvent(in: path) { return min(seq, events.span.newest) }
        }
        if let cursor = try events.cursor(Self.cursor) { return min(cursor.seq, events.span.newest) }
        return events.span.newest
    }

    /// Removes what a crash cut off.
    ///
    /// - Returns: the number of the last whole line; nil: there is none.
    /// - Throws: ``NotOurs`` for a file that holds something else, which is left alone.
    private func lastEvent(in path: String) throws -> UInt64? {
        guard try disk.status(path, following: false) != nil else { return nil }
        let file = try disk.open(path, .update, permissions: 0)
        let size = try file.status().size
        let bytes = try file.read(min(size, Self.longestLine), at: max(0, size - Self.longestLine))
        let whole = bytes[..<(bytes.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0)]
        let rest = bytes[whole.endIndex...]
        guard let line = whole.dropLast().split(separator: 0x0A).last else {
            guard bytes.count == size, rest.allSatisfy({ $0 == 0 }) || Self.isBeginning(rest) else {
                throw NotOurs(path: path)
            }
            if size > 0 { try file.truncate(to: 0) }
            return nil
        }
        guard let event = try? JSON(parsing: Array(line)), let number = event["seq"]?.integer, number > 0 else {
            throw NotOurs(path: path)
        }
        if !rest.isEmpty { try file.truncate(to: size - rest.count) }
        return UInt64(number)
    }

    /// Whether bytes may be a line of ours that was cut off.
    private static func isBeginning(_ bytes: ArraySlice<UInt8>) -> Bool {
        let beginning = Array(#"{"id":"evt_"#.utf8)
        return bytes.starts(with: beginning) || beginning.starts(with: bytes)
    }

    /// A file that holds something else.
    struct NotOurs: Error, CustomStringConvertible {
        let path: String
        var description: String { "\(path) holds no events; name another file in events.ini" }
    }
}
