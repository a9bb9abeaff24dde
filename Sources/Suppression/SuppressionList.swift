// SuppressionList.swift — the addresses that get nothing: on disk in an SQLite database, in memory as keyed hashes.
//
// Guarantees: what a call has changed is on the disk when it returns (a kill loses nothing). A look-up asks memory alone, so it may
// be made on an event loop; memory is some 50 bytes an address, and no more than `most` are taken. A look-up of an empty list is one
// atomic read.
//
//   meta(key, value)   version, the key of the hashes, how far bounces were read
//   entry(digest, target, sender, reason, source, note, created, expires, host, seen)

import Database
package import Mail
import OpenSSL
import Synchronization

/// Why the list cannot be read or kept.
package struct SuppressionError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String

    init(_ error: DatabaseError) { description = "\(error)" }
    init(_ text: String) { description = text }
}

/// One line of the list.
package struct Suppression: Hashable, Sendable {
    /// Why it is there.
    package enum Reason: String, Hashable, Sendable, CaseIterable {
        case hardBounce = "hard_bounce"
        case complaint, unsubscribe, manual
    }

    /// An address, or a domain: everybody there; in lower case.
    ///
    /// `hash:` and 32 digits where only that is kept.
    package var target: String
    /// The sender's domain that it holds for; nil: everybody's.
    package var sender: Domain?
    package var reason: Reason
    /// Id of the event that it comes from.
    package var source: String?
    package var note: String?
    package var created: Timestamp
    /// nil: for ever.
    package var expires: Timestamp?

    package init(
        _ target: String,
        sender: Domain? = nil,
        reason: Reason = .manual,
        source: String? = nil,
        note: String? = nil,
        created: Timestamp,
        expires: Timestamp? = nil
    ) {
        self.target = target
        self.sender = sender
        self.reason = reason
        self.source = source
        self.note = note
        self.created = created
        self.expires = expires
    }

    private static let hashWord = "hash:"

    /// How a line is called of which only the hash is kept.
    static func hashed(_ digest: [UInt8]) -> String { hashWord + digest.hexadecimal }

    /// The hash that a target stands for; nil: it is an address or a domain.
    static func digest(_ target: some StringProtocol) -> [UInt8]? {
        let text = target.lowercasedASCII
        guard let rest = text.rest(behind: hashWord), rest.utf8.count == 32 else { return nil }
        return [UInt8](hexadecimal: rest)
    }

    /// What an address or a domain is called here; nil for anything else.
    package static func target(_ text: some StringProtocol) -> String? {
        guard text.utf8.count <= 320 else { return nil }
        if let digest = digest(text) { return hashed(digest) }
        if text.contains(octet: "@") { return EmailAddress(text).map { "\($0)".lowercasedASCII } }
        return Domain(text).flatMap { $0.literal == nil ? $0.name : nil }
    }
}

/// The list.
package final class SuppressionList: Sendable {
    /// Lines that are taken.
    package static let most = 5_000_000
    private static let version = 1
    static let columns = "digest, target, sender, reason, source, note, created, expires"

    /// What a hit is told by.
    private struct Mark {
        let reason: Suppression.Reason
        /// Milliseconds; `.max`: for ever.
        let expires: Int64
    }

    private struct State {
        var marks: [UInt64: Mark] = [:]
        /// Lines for the mail of one sender's domain.
        var scoped = 0
    }

    let database: Mutex<Database>
    private let key: [UInt8]
    /// Addresses themselves are not kept.
    private let isHashed: @Sendable () -> Bool
    /// None of them is left from before.
    private let isCovered = Atomic<Bool>(false)
    private let state = Mutex(State())
    private let count = Atomic<Int>(0)

    /// Opens the list, and makes it when it is missing.
    ///
    /// Blocks.
    ///
    /// - Parameter isHashed: `store = hash`; asked whenever something is written.
    package init(path: String, isHashed: @escaping @Sendable () -> Bool = { false }) throws(SuppressionError) {
        self.isHashed = isHashed
        do throws(DatabaseError) {
            let database = try Database(path)
            try database.sync(.atOnce)
            try database.run(
                """
                CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS entry(digest BLOB PRIMARY KEY, target TEXT NOT NULL, sender TEXT NOT NULL,
                reason TEXT NOT NULL, source TEXT NOT NULL, note TEXT NOT NULL, created INTEGER NOT NULL,
                expires INTEGER NOT NULL, host TEXT NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID;
                """
            )
            let select = try database.statement("SELECT value FROM meta WHERE key = 'salt'")
            if try select.step() {
                key = select.bytes(0)
                select.reset()
            } else {
                select.reset()
                key = (0..<32).map { _ in UInt8.random(in: 0...255) }
                let insert = try database.statement("INSERT INTO meta VALUES ('salt', ?), ('version', '1')")
                insert.bind(1, key)
                try insert.run()
            }
            var (marks, scoped) = ([UInt64: Mark](), 0)
            let all = try database.statement("SELECT digest, reason, expires, sender FROM entry WHERE reason <> ''")
            while try all.step() {
                marks[Self.short(all.bytes(0))] = Mark(
                    reason: Suppression.Reason(rawValue: all.text(1)) ?? .manual,
                    expires: all.integer(2)
                )
                if !all.bytes(3).isEmpty { scoped += 1 }
            }
            all.reset()
            if isHashed() {
                try Self.cover(database)
                isCovered.store(true, ordering: .relaxed)
            }
            self.database = Mutex(database)
            count.store(marks.count, ordering: .relaxed)
            state.withLock { ($0.marks, $0.scoped) = (marks, scoped) }
        } catch {
            throw SuppressionError(error)
        }
    }

    /// Nobody is on it.
    package var isEmpty: Bool { count.load(ordering: .relaxed) == 0 }

    /// Lines, those included that have expired and may come again.
    package var total: Int { count.load(ordering: .relaxed) }

    /// Why mail is held back; nil: it is not.
    ///
    /// Never blocks for the disk.
    ///
    /// - Parameter sender: whose mail it is.
    package func reason(for recipient: EmailAddress, from sender: ReversePath, at now: Timestamp) -> Suppression.Reason?
    {
        guard !isEmpty else { return nil }
        var domain: Domain?
        if case .address(let address) = sender { domain = address.domain }
        let hasScopes = state.withLock { $0.scoped > 0 }
        let targets = ["\(recipient)".lowercasedASCII, recipient.domain.name]
        for scope in [nil, hasScopes ? domain : nil] {
            for target in targets {
                let short = Self.short(digest(target, scope))
                if let mark = state.withLock({ $0.marks[short] }), mark.expires > now.milliseconds {
                    return mark.reason
                }
            }
            if domain == nil || !hasScopes { break }
        }
        return nil
    }

    // MARK: - Lines

    /// Puts lines on the list, or in the place of those for the same address and scope.
    ///
    /// Blocks.
    ///
    /// - Returns: how many were not there.
    @discardableResult
    package func put(_ lines: [Suppression]) throws(SuppressionError) -> Int {
        try checkRoom(for: lines.count)
        return try write { database throws(DatabaseError) in
            var added = 0
            for line in lines { added += try self.put(line, nil, database) ? 1 : 0 }
            return added
        }
    }

    private func checkRoom(for count: Int) throws(SuppressionError) {
        guard total + count <= Self.most else {
            throw SuppressionError(
                "the list is full: it has \(total) of \(Self.most) lines; take some away, or put a domain in the place of its addresses"
            )
        }
    }

    /// What ``put(_:)`` would find in the place of each line; nil: nothing.
    ///
    /// Blocks.
    package func standing(inPlaceOf lines: [Suppression]) throws(SuppressionError) -> [Suppression?] {
        try checkRoom(for: lines.count)
        return try write { database throws(DatabaseError) in
            var earlier: [[UInt8]: Suppression] = [:]
            var found: [Suppression?] = []
            for line in lines {
                let digest = self.digest(line.target, line.sender)
                if let own = earlier.updateValue(line, forKey: digest) {
                    found.append(own)
                } else {
                    found.append(try Self.line(of: digest, database))
                }
            }
            return found
        }
    }

    /// Takes a line away.
    ///
    /// Blocks.
    ///
    /// - Parameter expected: only if this is what it says; nil: whatever it says.
    /// - Returns: whether it was there.
    package func remove(
        _ target: String,
        sender: Domain?,
        expecting expected: Suppression? = nil
    ) throws(SuppressionError) -> Bool {
        let digest = digest(target, sender)
        return try write { database throws(DatabaseError) in
            if let expected, try Self.line(of: digest, database) != expected { return false }
            let delete = try database.statement("DELETE FROM entry WHERE digest = ?")
            delete.bind(1, digest)
            try delete.run()
            return self.unmark(digest, isScoped: sender != nil)
        }
    }

    /// Lines in an order that stays the same, behind a place.
    ///
    /// Blocks.
    package func lines(
        behind place: [UInt8],
        atMost limit: Int
    ) throws(SuppressionError) -> (
        lines: [Suppression], next: [UInt8]?
    ) {
        try write { database throws(DatabaseError) in
            let select = try database.statement(
                "SELECT \(Self.columns) FROM entry WHERE digest > ? AND reason <> '' ORDER BY digest LIMIT \(limit)"
            )
            select.bind(1, place)
            var (found, last): ([Suppression], [UInt8]) = ([], place)
            while try select.step() {
                last = select.bytes(0)
                found.append(Self.line(select))
            }
            select.reset()
            return (found, found.count == limit ? last : nil)
        }
    }

    /// The line for an address or a domain; nil: there is none.
    ///
    /// Blocks.
    package func line(_ target: String, sender: Domain?) throws(SuppressionError) -> Suppression? {
        let digest = digest(target, sender)
        return try write { database throws(DatabaseError) in try Self.line(of: digest, database) }
    }

    private static func line(of digest: [UInt8], _ database: Database) throws(DatabaseError) -> Suppression? {
        let select = try database.statement("SELECT \(columns) FROM entry WHERE digest = ? AND reason <> ''")
        select.bind(1, digest)
        defer { select.reset() }
        return try select.step() ? line(select) : nil
    }

    private static func line(_ row: Statement) -> Suppression {
        func text(_ column: Int32) -> String? {
            let text = row.text(column)
            return text.isEmpty ? nil : text
        }
        let expires = row.integer(7)
        return Suppression(
            row.bytes(1).isEmpty ? Suppression.hashed(row.bytes(0)) : row.text(1),
            sender: text(2).flatMap { Domain($0) },
            reason: Suppression.Reason(rawValue: row.text(3)) ?? .manual,
            source: text(4),
            note: text(5),
            created: Timestamp(milliseconds: row.integer(6)),
            expires: expires == .max ? nil : Timestamp(milliseconds: expires)
        )
    }

    // MARK: - Under the lock

    func write<Value: Sendable>(_ body: (Database) throws(DatabaseError) -> Value) throws(SuppressionError) -> Value {
        let result: Result<Value, DatabaseError> = database.withLock { database in
            do throws(DatabaseError) {
                return .success(
                    try database.transaction({ () throws(DatabaseError) in try body(database) }, failing: { $0 })
                )
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(let value): return value
        case .failure(let error): throw SuppressionError(error)
        }
    }

    /// - Parameter evidence: the first bounce; nil: nobody's business.
    /// - Returns: whether it is new.
    func put(
        _ line: Suppression,
        _ evidence: SuppressionEvidence?,
        _ database: Database
    ) throws(DatabaseError) -> Bool {
        let digest = digest(line.target, line.sender)
        let expires = line.expires?.milliseconds ?? .max
        let isHashed = isHashed()
        if isHashed, !isCovered.load(ordering: .relaxed) { try Self.cover(database) }
        isCovered.store(isHashed, ordering: .relaxed)
        let insert = try database.statement("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        insert.bind(1, digest)
        insert.bind(2, isHashed || Suppression.digest(line.target) != nil ? "" : line.target)
        insert.bind(3, line.sender?.name ?? "")
        insert.bind(4, line.reason.rawValue)
        insert.bind(5, line.source ?? "")
        insert.bind(6, line.note ?? "")
        insert.bind(7, line.created.milliseconds)
        insert.bind(8, expires)
        insert.bind(9, evidence?.host ?? "")
        insert.bind(10, evidence?.time.milliseconds ?? 0)
        try insert.run()
        return state.withLock { state in
            let old = state.marks.updateValue(Mark(reason: line.reason, expires: expires), forKey: Self.short(digest))
            if old == nil, line.sender != nil { state.scoped += 1 }
            count.store(state.marks.count, ordering: .relaxed)
            return old == nil
        }
    }

    private func unmark(_ digest: [UInt8], isScoped: Bool) -> Bool {
        state.withLock { state in
            guard state.marks.removeValue(forKey: Self.short(digest)) != nil else { return false }
            if isScoped { state.scoped -= 1 }
            count.store(state.marks.count, ordering: .relaxed)
            return true
        }
    }

    /// Takes addresses away that were written before; what they are told by stays.
    private static func cover(_ database: Database) throws(DatabaseError) {
        // What is gone is overwritten, not only left out.
        try database.run("PRAGMA secure_delete = ON")
        try database.run("UPDATE entry SET target = '' WHERE target <> ''")
    }

    /// Nobody without the key can make two addresses that look alike.
    func digest(_ target: String, _ sender: Domain?) -> [UInt8] {
        if let known = Suppression.digest(target) { return known }
        return Array(
            KeyedHash.hmac(.sha256, key: key, message: Array("\(sender?.name ?? "")\n\(target)".utf8)).prefix(16)
        )
    }

    private static func short(_ digest: [UInt8]) -> UInt64 {
        digest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }
}
