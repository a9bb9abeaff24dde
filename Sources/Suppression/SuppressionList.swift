// SuppressionList.swift — the addresses that get nothing: on disk in an SQLite database, in memory as keyed hashes.
//
// Guarantees: what a call has changed is on the disk when it returns (a kill loses nothing). A look-up asks memory alone, so it may
// be made on an event loop; memory is some 50 bytes an address, and no more than `most` are taken. A look-up of an empty list is one
// atomic read.
//
//   meta(key, value)   version, the key of the hashes, how far bounces were read
//   entry(digest, target, sender, reason, source, note, created, expires, host, seen)
//   sender: the domain whose mail a line is about, or `tag NAME`; empty: everybody's mail

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

    /// Whose mail a line is about.
    package enum Scope: Hashable, Sendable {
        case everybody
        /// Mail from this domain.
        case sender(Domain)
        /// Mail of this tag.
        case tag(String)

        /// Octets of a tag at most.
        package static let longestTag = 200

        /// As the file and the hashes have it: no domain has a blank.
        var written: String {
            switch self {
            case .everybody: ""
            case .sender(let domain): domain.name
            case .tag(let tag): "tag \(tag)"
            }
        }

        /// - Parameter written: as ``written``; what makes no sense is about everybody's mail.
        init(written: String) {
            if let tag = written.rest(behind: "tag ") {
                self = .tag(String(tag))
            } else {
                self = Domain(written).map { .sender($0) } ?? .everybody
            }
        }

        /// A tag that a line may name: printable, with something in it.
        package init?(tag: String) {
            guard (1...Self.longestTag).contains(tag.utf8.count), tag.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
            else { return nil }
            self = .tag(tag)
        }

        /// The domain; nil: it is about other mail.
        package var sender: Domain? { if case .sender(let domain) = self { domain } else { nil } }
        /// The tag; nil: it is about other mail.
        package var tag: String? { if case .tag(let tag) = self { tag } else { nil } }
    }

    /// An address, or a domain: everybody there; in lower case.
    ///
    /// `hash:` and 32 digits where only that is kept.
    package var target: String
    /// Whose mail it is about.
    package var scope: Scope
    package var reason: Reason
    /// Id of the event that it comes from.
    package var source: String?
    package var note: String?
    package var created: Timestamp
    /// nil: for ever.
    package var expires: Timestamp?

    package init(
        _ target: String,
        _ scope: Scope = .everybody,
        reason: Reason = .manual,
        source: String? = nil,
        note: String? = nil,
        created: Timestamp,
        expires: Timestamp? = nil
    ) {
        self.target = target
        self.scope = scope
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
        var senders = 0
        /// Lines for the mail of one tag.
        var tags = 0

        mutating func count(_ scope: Suppression.Scope, _ more: Int) {
            switch scope {
            case .everybody: break
            case .sender: senders += more
            case .tag: tags += more
            }
        }
    }

    let database: Mutex<Database>
    private let key: [UInt8]
    /// Addresses themselves are not kept.
    private let isHashed: @Sendable () -> Bool
    /// None of them is left from before.
    private let isCovered = Atomic<Bool>(false)
    private let state = Mutex(State())
    private let count = Atomic<Int>(0)
    private let tagCount = Atomic<Int>(0)

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
            var found = State()
            let all = try database.statement("SELECT digest, reason, expires, sender FROM entry WHERE reason <> ''")
            while try all.step() {
                found.marks[Self.short(all.bytes(0))] = Mark(
                    reason: Suppression.Reason(rawValue: all.text(1)) ?? .manual,
                    expires: all.integer(2)
                )
                found.count(Suppression.Scope(written: all.text(3)), 1)
            }
            all.reset()
            if isHashed() {
                try Self.cover(database)
                isCovered.store(true, ordering: .relaxed)
            }
            self.database = Mutex(database)
            count.store(found.marks.count, ordering: .relaxed)
            tagCount.store(found.tags, ordering: .relaxed)
            state.withLock { [found] in $0 = found }
        } catch {
            throw SuppressionError(error)
        }
    }

    /// Nobody is on it.
    package var isEmpty: Bool { count.load(ordering: .relaxed) == 0 }

    /// Lines, those included that have expired and may come again.
    package var total: Int { count.load(ordering: .relaxed) }

    /// Some line is about mail of one tag.
    package var asksTag: Bool { tagCount.load(ordering: .relaxed) > 0 }

    /// Why mail is held back; nil: it is not.
    ///
    /// Any line that fits holds it back. The first of these says why: a line about everybody's mail, about the sender's domain,
    /// about the tag; of each the one of the address before the one of its domain. Never blocks for the disk.
    ///
    /// - Parameters:
    ///   - sender: whose mail it is.
    ///   - tag: its tag; nil: it has none, or it is not known yet.
    package func reason(
        for recipient: EmailAddress,
        from sender: ReversePath,
        tag: String? = nil,
        at now: Timestamp
    ) -> Suppression.Reason? {
        guard !isEmpty else { return nil }
        var scopes = [Suppression.Scope.everybody]
        let (senders, tags) = state.withLock { ($0.senders, $0.tags) }
        if senders > 0, case .address(let address) = sender { scopes.append(.sender(address.domain)) }
        if tags > 0, let tag { scopes.append(.tag(tag)) }
        let targets = ["\(recipient)".lowercasedASCII, recipient.domain.name]
        for scope in scopes {
            for target in targets {
                let short = Self.short(digest(target, scope))
                if let mark = state.withLock({ $0.marks[short] }), mark.expires > now.milliseconds {
                    return mark.reason
                }
            }
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
                let digest = self.digest(line.target, line.scope)
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
        _ scope: Suppression.Scope,
        expecting expected: Suppression? = nil
    ) throws(SuppressionError) -> Bool {
        let digest = digest(target, scope)
        return try write { database throws(DatabaseError) in
            // A hash says itself whose mail it is about.
            let found = try Self.line(of: digest, database)
            if let expected, found != expected { return false }
            let delete = try database.statement("DELETE FROM entry WHERE digest = ?")
            delete.bind(1, digest)
            try delete.run()
            return self.unmark(digest, found?.scope ?? scope)
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
    package func line(_ target: String, _ scope: Suppression.Scope) throws(SuppressionError) -> Suppression? {
        let digest = digest(target, scope)
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
            Suppression.Scope(written: row.text(2)),
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
        let digest = digest(line.target, line.scope)
        let expires = line.expires?.milliseconds ?? .max
        let isHashed = isHashed()
        if isHashed, !isCovered.load(ordering: .relaxed) { try Self.cover(database) }
        isCovered.store(isHashed, ordering: .relaxed)
        let insert = try database.statement("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        insert.bind(1, digest)
        insert.bind(2, isHashed || Suppression.digest(line.target) != nil ? "" : line.target)
        insert.bind(3, line.scope.written)
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
            if old == nil { state.count(line.scope, 1) }
            tagCount.store(state.tags, ordering: .relaxed)
            count.store(state.marks.count, ordering: .relaxed)
            return old == nil
        }
    }

    private func unmark(_ digest: [UInt8], _ scope: Suppression.Scope) -> Bool {
        state.withLock { state in
            guard state.marks.removeValue(forKey: Self.short(digest)) != nil else { return false }
            state.count(scope, -1)
            tagCount.store(state.tags, ordering: .relaxed)
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
    func digest(_ target: String, _ scope: Suppression.Scope) -> [UInt8] {
        if let known = Suppression.digest(target) { return known }
        return Array(
            KeyedHash.hmac(.sha256, key: key, message: Array("\(scope.written)\n\(target)".utf8)).prefix(16)
        )
    }

    private static func short(_ digest: [UInt8]) -> UInt64 {
        digest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }
}
