// IdempotencyKeys.swift — `Idempotency-Key` on POST: the same request twice is done once, for a day, also across a restart.
//
// Kept in a file of the data directory, one JSON line each, synced before the answer goes out. Only digests of keys and
// bodies are kept, and answers, which hold no secrets. Bounded in number and in bytes, in memory and on disk: the oldest go
// first, and a request that is under way never does.

package import Files
import JSON
package import Log
package import Mail
import OpenSSL
import Synchronization

/// Answers of requests that carried a key.
package final class IdempotencyKeys: Sendable {
    /// Milliseconds an answer is kept: a day.
    private static let life: Int64 = 86_400_000
    /// Answers kept.
    private static let limit = 10_000
    /// Bytes of memory that all of them hold.
    static let mostBytes = 16 << 20
    /// What an entry holds beside its answer, in bytes.
    private static let entryBytes = 512
    /// Bytes of the file at which it is written again without what has expired.
    ///
    /// What is written may be six times as long as what was said, since JSON escapes it.
    private static let usualFile = 64 << 20
    /// Bytes that the file may have at a start.
    private static let longestFile = 8 * mostBytes

    private struct Entry {
        /// Of method, path, query and body.
        let request: String
        let at: Int64
        /// nil while the first request is under way.
        var answer: KeptAnswer?

        var bytes: Int { IdempotencyKeys.entryBytes + (answer?.bytes ?? 0) }
    }

    private struct State {
        private(set) var entries: [String: Entry] = [:]
        /// Bytes that the entries hold.
        private(set) var bytes = 0
        /// Oldest first.
        var order: [String] = []
        var file: (any OpenFile)?
        var size = 0
        var lines = 0

        /// - Returns: false when there was one of that name, which is replaced.
        @discardableResult
        mutating func put(_ name: String, _ entry: Entry?) -> Bool {
            let old = entries[name]
            entries[name] = entry
            bytes += (entry?.bytes ?? 0) - (old?.bytes ?? 0)
            return old == nil
        }
    }

    private let path: String
    private let disk: any Disk
    private let log: LogSink
    private let state = Mutex(State())

    /// - Parameter path: of the file; it is made with the first key.
    package init(path: String, disk: any Disk, log: LogSink, now: Timestamp) {
        self.path = path
        self.disk = disk
        self.log = log
        load(now)
    }

    /// Bytes of memory that answers hold now.
    package var bytes: Int { state.withLock { $0.bytes } }

    /// Runs `body` unless an answer for the key is known.
    ///
    /// - Parameter body: gets digests of the key with whose it is, and of the request.
    /// - Throws: 409 while the first request runs, 422 for another request under the same key, and what `body` throws,
    ///   which is not kept: the client may try again.
    func once(
        _ key: String,
        _ request: AdminRequest,
        _ body: (_ name: String, _ fingerprint: String) throws(Problem) -> AdminResponse
    ) throws(Problem) -> AdminResponse {
        guard (1...256).contains(key.utf8.count), key.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw Problem(.malformed, "Idempotency-Key has 1 to 256 printable characters without blanks")
        }
        let name = Self.digest("\(request.caller.name)\n\(key)", [])
        let query = request.query.map { "\($0.name)=\($0.value)" }.joined(separator: "&")
        let fingerprint = Self.digest("\(request.path)\n\(query)\n\(request.mediaType ?? "")", request.body)
        let now = Timestamp.now()
        if let known = try begin(name, fingerprint, now) { return known }
        let response: AdminResponse
        do throws(Problem) {
            response = try body(name, fingerprint)
        } catch {
            forget(name)
            throw error
        }
        finish(name, fingerprint, response, now)
        return response
    }

    private func begin(_ name: String, _ fingerprint: String, _ now: Timestamp) throws(Problem) -> AdminResponse? {
        let found: Entry? = state.withLock { state in
            Self.expire(&state, now)
            if let entry = state.entries[name] { return entry }
            state.put(name, Entry(request: fingerprint, at: now.milliseconds, answer: nil))
            state.order.append(name)
            return nil
        }
        guard let found else { return nil }
        guard found.request == fingerprint else {
            throw Problem(.invalid, "this Idempotency-Key was used for another request")
        }
        guard let answer = found.answer else {
            throw Problem(
                .conflict,
                "the first request with this Idempotency-Key is still running; ask again in a moment"
            )
        }
        return answer.response
    }

    private func forget(_ name: String) {
        state.withLock { state in
            state.put(name, nil)
            state.order.removeAll { $0 == name }
        }
    }

    private func finish(_ name: String, _ fingerprint: String, _ response: AdminResponse, _ now: Timestamp) {
        guard let answer = KeptAnswer(response) else { return forget(name) }
        let entry = Entry(request: fingerprint, at: now.milliseconds, answer: answer)
        let line = Self.line(name, entry, answer)
        state.withLock { state in
            if state.put(name, entry) { state.order.append(name) }
            Self.expire(&state, now)
            let isLong = state.lines > 2 * Self.limit || state.size > Self.usualFile
            do throws(DiskError) {
                if isLong { try rewrite(&state) } else { try append(line, &state) }
            } catch {
                log.write(.warning, "an idempotency key is not on disk") { $0.add(.error, "\(error)") }
            }
        }
    }

    // MARK: - On disk

    private func append(_ bytes: [UInt8], _ state: inout State) throws(DiskError) {
        let file: any OpenFile
        if let known = state.file {
            file = known
        } else {
            file = try disk.open(path, .updateOrCreate, permissions: 0o600)
            state.file = file
            state.size = try file.status().size
        }
        try file.write(bytes, at: state.size)
        try file.syncData()
        state.size += bytes.count
        state.lines += 1
    }

    /// Leaves out what has expired.
    private func rewrite(_ state: inout State) throws(DiskError) {
        var bytes: [UInt8] = []
        var lines = 0
        for name in state.order {
            guard let entry = state.entries[name], let answer = entry.answer else { continue }
            bytes += Self.line(name, entry, answer)
            lines += 1
        }
        state.file = nil
        try disk.replace(path, with: bytes)
        state.size = bytes.count
        state.lines = lines
    }

    private func load(_ now: Timestamp) {
        let bytes: [UInt8]
        do throws(DiskError) {
            bytes = try disk.contents(of: path, limit: Self.longestFile)
        } catch {
            if !error.isMissing { setAside("cannot be read: \(error)") }
            return
        }
        var damaged: [UInt8] = []
        state.withLock { state in
            // A last line torn by a power cut is a request that was not answered.
            let whole = bytes[..<((bytes.lastIndex(of: 0x0A) ?? -1) + 1)]
            for line in whole.split(octet: "\n") {
                state.lines += 1
                guard let value = try? JSON(parsing: Array(line)), let (name, entry) = Self.entry(value, now) else {
                    damaged += line + [0x0A]
                    continue
                }
                if state.put(name, entry) { state.order.append(name) }
                Self.expire(&state, now)
            }
            state.size = bytes.count
            if whole.count < bytes.count { state.lines = 2 * Self.limit + 1 }
        }
        if !damaged.isEmpty { setAside(damaged) }
    }

    private static func line(_ name: String, _ entry: Entry, _ answer: KeptAnswer) -> [UInt8] {
        let line: JSON = [
            "key": .string(name), "request": .string(entry.request), "at": .integer(entry.at), "answer": answer.json,
        ]
        return line.bytes + [0x0A]
    }

    /// An entry that makes sense in every part.
    private static func entry(_ value: JSON, _ now: Timestamp) -> (name: String, Entry)? {
        guard case .string(let name)? = value["key"], isDigest(name), case .string(let request)? = value["request"],
            isDigest(request), case .integer(let milliseconds)? = value["at"],
            Timestamp.storable.contains(Timestamp(milliseconds: milliseconds)),
            let answer = value["answer"].flatMap({ KeptAnswer($0) })
        else { return nil }
        // A clock that was set back must not keep it for ever.
        return (name, Entry(request: request, at: min(milliseconds, now.milliseconds), answer: answer))
    }

    private static func isDigest(_ text: String) -> Bool {
        text.utf8.count == 64 && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    /// Keeps lines that make no sense for a human, named by their content so that the same ones are kept once, and writes
    /// the file again without them.
    private func setAside(_ lines: [UInt8]) {
        let mark = String(lines.withUnsafeBytes { CRC32C.of($0) }, radix: 16)
        let count = lines.count { $0 == 0x0A }
        log.write(.warning, "lines of a file make no sense and were set aside") { line in
            line.add(.file, "\(path).damaged-\(mark)")
            line.add(.count, count)
        }
        do throws(DiskError) {
            try disk.replace("\(path).damaged-\(mark)", with: lines)
            try state.withLock { state throws(DiskError) in try rewrite(&state) }
        } catch {
            log.write(.warning, "a damaged file stays as it is") { $0.add(.error, "\(error)") }
        }
    }

    /// Gives the file another name.
    private func setAside(_ reason: String) {
        log.write(.warning, "a file cannot be used and was set aside") { line in
            line.add(.file, "\(path).damaged")
            line.add(.error, reason)
        }
        do throws(DiskError) {
            try disk.rename(path, to: "\(path).damaged")
        } catch {
            log.write(.warning, "a damaged file stays as it is") { $0.add(.error, "\(error)") }
        }
    }

    /// Lets go what is old, and the oldest of what is too much.
    private static func expire(_ state: inout State, _ now: Timestamp) {
        var passed = 0
        var running: [String] = []
        for name in state.order {
            let isTooMuch = state.entries.count > limit || state.bytes > mostBytes
            if let entry = state.entries[name] {
                let isOld = entry.at + life < now.milliseconds
                guard isOld || isTooMuch else { break }
                if entry.answer == nil, !isOld { running.append(name) } else { state.put(name, nil) }
            }
            passed += 1
        }
        if passed > running.count { state.order.replaceSubrange(..<passed, with: running) }
    }

    private static func digest(_ text: String, _ body: [UInt8]) -> String {
        let digest = Digest()
        digest.update(Array("\(text)\n".utf8))
        digest.update(body)
        return digest.finish().hexadecimal
    }
}
