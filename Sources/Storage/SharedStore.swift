// SharedStore.swift — the queue of several relays, in PostgreSQL.
//
// A message belongs to the node that accepted it, which delivers it from memory: one insert, one delete, no claim, no read. See
// Cluster.md in the documentation of `martlet` for what is promised.

import Database
package import Files
import Glibc
package import Mail
import Synchronization

/// The store behind a queue that several relays share.
package final class SharedStore: QueueStore, Journal {
    private static let batch = 1_000

    let options: SharedOptions
    private let directory: String
    private let disk: any Disk
    private let say: @Sendable (SharedNotice) -> Void
    let node = SharedNode()
    private let words: SharedWords
    let pool: SharedPool
    let commits = GroupCommit()
    private let journal: SharedJournal
    let turn: SharedTurn
    private let keeper = Mutex<SharedKeeper?>(nil)
    /// The connection that this node joined with, until the keeper takes it.
    private let first = Mutex<ServerConnection?>(nil)
    /// Why the holds are not known.
    private let obstacle = Mutex<QueueError?>(nil)
    private let lockFile = Mutex<(any OpenFile)?>(nil)
    /// Holds as they stand in the database, of this node's messages.
    private let saved = Mutex<[QueueID: Hold]>([:])
    private let drafts = Atomic<Int>(0)

    /// Nothing is touched before ``recover(_:)``.
    ///
    /// - Parameters:
    ///   - directory: for this node's own: which one it is, and drafts that outgrow memory; made when missing.
    ///   - say: told what people should hear of, on any thread.
    package init(
        _ options: SharedOptions,
        directory: String,
        disk: any Disk = LinuxDisk(),
        say: @escaping @Sendable (SharedNotice) -> Void
    ) {
        self.options = options
        self.directory = directory
        self.disk = disk
        let told: @Sendable (SharedNotice) -> Void = { [node] notice in
            say(notice)
            node.news.happened(notice)
        }
        self.say = told
        words = SharedWords(in: directory, disk)
        pool = SharedPool(options.place)
        journal = SharedJournal(options, pool)
        turn = SharedTurn(options, node, pool, say: told)
    }

    /// The number of this node's life; nil: it is none of the queue's now.
    var incarnation: Int64? { node.incarnation }

    /// Why nothing is committed now; nil: everything is well.
    package var trouble: String? { node.trouble }

    /// Makes or changes the tables.
    ///
    /// Blocks.
    /// - Returns: the version that was there, and the one that is.
    package static func migrate(_ place: String) throws(QueueError) -> (before: Int, now: Int) {
        let connection: ServerConnection
        do throws(ServerError) { connection = try ServerConnection(place) } catch { throw QueueError(error) }
        return (try SharedSchema.migrate(connection), SharedSchema.version)
    }
}

// MARK: - Start and stop

extension SharedStore {
    package func setNews(_ news: OwnershipNews) {
        var own = news
        own.adopted = { [weak self] adopted in
            self?.saved.withLock { saved in
                for case (let message, let hold?) in adopted { saved[message.id] = hold }
            }
            news.adopted(adopted)
        }
        node.news = own
    }

    package func recover(_ visit: (RecoveredMessage) -> Void) throws(QueueError) {
        if let error = obstacle.withLock({ $0 }) { throw error }
        let instance = try takeDirectory()
        let connection: ServerConnection
        do throws(ServerError) {
            if let open = first.withLock({ $0 }), !open.isLost {
                connection = open
            } else {
                connection = try firstConnection()
            }
            let found = try SharedSchema.found(connection)
            if let trouble = SharedSchema.trouble(found, mayMigrate: options.mayMigrate) {
                throw ServerError(state: "", text: trouble)
            }
            if found == SharedSchema.version { try SharedSchema.makePartitions(connection, around: .now()) }
        } catch {
            throw QueueError(error)
        }
        if options.mayMigrate { _ = try SharedSchema.migrate(connection) }
        let asked = Uptime.now()
        let incarnation = try SharedKeeper.join(connection, options, instance: instance)
        node.join(as: incarnation)
        say(.joined(incarnation, options.node))
        do throws(ServerError) {
            try journal.begin(connection)
            try words.hear(connection, node.news.heard)
            try adoptOwn(connection, incarnation, instance, visit)
        } catch {
            throw QueueError(error)
        }
        node.lease(from: asked)
        let keeper = SharedKeeper(
            options,
            instance: instance,
            node,
            words,
            poke: { [commits] in commits.submit(.sync(SyncBell())) },
            say: say
        )
        self.keeper.withLock { $0 = keeper }
        first.withLock { $0 = connection }
    }

    /// A database that starts beside this relay is waited for, as long as mail would be.
    private func firstConnection() throws(ServerError) -> ServerConnection {
        let end = Uptime.now().adding(milliseconds: options.patience)
        while true {
            do throws(ServerError) {
                return try ServerConnection(options.place)
            } catch {
                guard Uptime.now() < end else { throw error }
                usleep(500_000)
            }
        }
    }

    /// What this node had in an earlier life; others' mail comes while it runs.
    private func adoptOwn(
        _ connection: ServerConnection,
        _ incarnation: Int64,
        _ instance: Int64,
        _ visit: (RecoveredMessage) -> Void
    ) throws(ServerError) {
        let lives = try connection.rows(
            "SELECT incarnation FROM martlet.node WHERE instance = $1 AND is_dead",
            [.number(instance)]
        )
        for row in 0..<lives.count {
            while true {
                let found = try SharedKeeper.take(
                    connection,
                    from: lives.integer(row, 0),
                    to: incarnation,
                    atMost: Self.batch,
                    report: say
                )
                if found.isEmpty { break }
                for adopted in found {
                    if let hold = adopted.hold { saved.withLock { $0[adopted.message.id] = hold } }
                    visit(adopted.message)
                }
                // A long start must not cost the lease.
                _ = try connection.rows(
                    """
                    UPDATE martlet.node SET lease_until = clock_timestamp() + interval '\(SharedNode.lease) milliseconds'
                    WHERE incarnation = $1 RETURNING 1
                    """,
                    [.number(incarnation)]
                )
            }
        }
    }

    /// Makes sure that one process at a time is this node, and learns which one it is.
    private func takeDirectory() throws(QueueError) -> Int64 {
        do throws(DiskError) {
            try disk.makeDirectory(directory, permissions: 0o700)
            let file = try disk.open("\(directory)/instance", .updateOrCreate, permissions: 0o600)
            guard try file.lock() else { throw DiskError("flock", directory, EWOULDBLOCK) }
            let text = String(decoding: try file.read(20, at: 0), as: UTF8.self)
            var number = Int64(text) ?? 0
            if number <= 0 {
                number = Int64.random(in: 1 ... .max)
                try file.truncate(to: 0)
                try file.write(Array("\(number)".utf8), at: 0)
                try file.sync()
                try disk.syncDirectory(directory)
            }
            lockFile.withLock { $0 = file }
            return number
        } catch {
            guard error.code == EWOULDBLOCK else { throw QueueError(error) }
            throw .locked("\(directory) is in use by another process")
        }
    }

    package func start(committed: @escaping @Sendable ([CommitResult]) -> Void) throws(QueueError) {
        let connection = first.withLock { connection in
            defer { connection = nil }
            return connection
        }
        guard let connection else { throw .closing }
        let (options, node, journal, say) = (options, node, journal, say)
        let isWriting = commits.start {
            SharedWriter(options, node, journal, say: say, committed: committed)
        }
        guard isWriting, keeper.withLock({ $0 })?.start(connection) == true, turn.start() else {
            throw .broken("no thread for the writer")
        }
    }

    package func close() {
        turn.stop()
        commits.stop()
        // What waits is given to the others once everything is written.
        keeper.withLock { $0 }?.stop()
        pool.close()
        lockFile.withLock { $0 = nil }
    }
}

// MARK: - Writing

extension SharedStore {
    package func own(_ id: QueueID) -> QueueID { node.own(id) }

    package func append(_ message: NewMessage) { commits.submit(.message(message)) }

    package func append(_ state: DeliveryState, of id: QueueID, _ facts: Facts) {
        commits.submit(.attempt(id, state, facts))
    }

    package func appendSettled(_ id: QueueID, at location: Location, _ facts: Facts) {
        commits.submit(.settled(id, location, facts))
    }

    package var joinsNotes: Bool { true }

    package var sharesLanes: Bool { true }

    package func append(_ joint: JointNote) { commits.submit(.joint(joint)) }

    package func append(_ facts: Facts, of id: QueueID) { commits.submit(.facts(id, facts)) }

    package func confirm() -> Bool {
        let bell = SyncBell()
        return commits.submit(.sync(bell)) && bell.wait()
    }

    package func makeLargeBody(_ id: QueueID) throws(QueueError) -> any LargeBody {
        do throws(DiskError) {
            let number = drafts.wrappingAdd(1, ordering: .relaxed).newValue
            return try DraftBody("\(directory)/draft-\(id)-\(number)", disk: disk)
        } catch {
            throw QueueError(error)
        }
    }

    package var wantsRoom: Bool { false }

    package func isBeingEmptied(_ location: Location) -> Bool { false }

    package func move(_ id: QueueID, from location: Location, _ state: DeliveryState) throws(QueueError) -> Location {
        location
    }

    /// A node that is drained takes nothing; where the server has no room it says so with the commit.
    package func hasRoom(for bytes: Int) -> Bool { !node.isDraining }

    package var freeBytes: Int? { nil }

    /// Puts messages into the queue as they were elsewhere.
    ///
    /// Blocks until all are committed.
    package func bring(_ messages: [(message: NewMessage, state: DeliveryState)]) throws(QueueError) {
        let moves = messages.map { SpoolMove($0.message, $0.state, from: Location(number: 0)) }
        for move in moves where !commits.submit(.move(move)) { throw .closing }
        for move in moves { _ = try move.wait() }
    }

    /// Those of some messages that are in the queue, or were a moment ago.
    ///
    /// Blocks.
    package func known(_ ids: [QueueID]) throws(QueueError) -> Set<QueueID> {
        try pool.use { connection throws(ServerError) in
            let rows = try connection.rows(
                "SELECT DISTINCT id FROM martlet.mail WHERE id = ANY($1)",
                [.numbers(ids.map { Int64(bitPattern: $0.rawValue) })]
            )
            return Set((0..<rows.count).map { QueueID(rawValue: UInt64(bitPattern: rows.integer($0, 0))) })
        }
    }
}

// MARK: - Reading

extension SharedStore {
    package func isUsed(_ id: QueueID) throws(QueueError) -> Bool { try !known([id]).isEmpty }

    package func read(_ id: QueueID, at location: Location) throws(QueueError) -> NewMessage {
        let found: (head: [UInt8], content: [UInt8])? = try pool.use { connection throws(ServerError) in
            let rows = try connection.rows(
                """
                SELECT m.head, m.content FROM martlet.mail m JOIN martlet.message q ON q.id = m.id
                WHERE m.id = $1 AND m.piece = 0 AND q.owner = ANY($2)
                """,
                [.number(Int64(bitPattern: id.rawValue)), .numbers(node.own)]
            )
            return rows.count > 0 ? (rows.bytes(0, 0), rows.bytes(0, 1)) : nil
        }
        // It may be another's by now.
        guard let found else { throw .damaged("message \(id) is not this node's") }
        guard let head = SharedMail.head(decoding: found.head),
            let message = SharedMail.message(
                id,
                head,
                content: found.content,
                rest: { [pool] in SharedBody(id, size: $0, pool) }
            )
        else {
            setAside(id, at: location, because: "its rows contradict each other")
            throw .damaged("message \(id): its rows contradict each other")
        }
        return message
    }

    package func readEnvelope(_ id: QueueID, at location: Location) throws(QueueError) -> Envelope {
        let bytes: [UInt8]? = try pool.use { connection throws(ServerError) in
            let rows = try connection.rows(
                "SELECT head FROM martlet.mail WHERE id = $1 AND piece = 0",
                [.number(Int64(bitPattern: id.rawValue))]
            )
            return rows.count > 0 ? rows.bytes(0, 0) : nil
        }
        guard let head = bytes.flatMap(SharedMail.head(decoding:)) else {
            throw .damaged("message \(id) has no envelope")
        }
        return head.envelope
    }

    package func setAside(_ id: QueueID, at location: Location, because text: String) {
        do throws(ServerError) {
            try pool.once { connection throws(ServerError) in try SharedKeeper.setAside(connection, id) }
        } catch {}  // it is found again by whoever adopts it
        say(.setAside(id, text))
    }
}

// MARK: - Holds

extension SharedStore {
    /// Writes what changed since the last time: the list has this node's messages alone.
    package func save(_ holds: [QueueID: Hold]) throws(QueueError) {
        try saved.withLock { saved throws(QueueError) in
            let gone = saved.keys.filter { holds[$0] == nil }
            let changed = holds.filter { saved[$0.key] != $0.value }
            guard !gone.isEmpty || !changed.isEmpty else { return }
            try write(changed, instead: gone)
            saved = holds
        }
    }

    package func save(_ changes: [HoldChange], all: () -> [QueueID: Hold]) throws(QueueError) {
        try saved.withLock { saved throws(QueueError) in
            var changed: [QueueID: Hold] = [:]
            var gone: [QueueID] = []
            for change in changes where saved[change.id] != change.hold {
                changed[change.id] = change.hold
                if change.hold == nil { gone.append(change.id) }
            }
            guard !gone.isEmpty || !changed.isEmpty else { return }
            try write(changed, instead: gone)
            for id in gone { saved[id] = nil }
            saved.merge(changed) { _, new in new }
        }
    }

    /// Writes holds of messages that are to come.
    package func add(_ holds: [QueueID: Hold]) throws(QueueError) { try write(holds, instead: []) }

    private func write(_ holds: [QueueID: Hold], instead gone: [QueueID]) throws(QueueError) {
        try pool.use { connection throws(ServerError) in
            try connection.run("BEGIN ISOLATION LEVEL READ COMMITTED")
            _ = try connection.rows(
                "DELETE FROM martlet.hold WHERE id = ANY($1) RETURNING 1",
                [.numbers((gone + holds.keys).map { Int64(bitPattern: $0.rawValue) })]
            )
            for (id, hold) in holds {
                _ = try connection.rows(
                    "INSERT INTO martlet.hold VALUES ($1, $2, $3, $4) RETURNING 1",
                    [
                        .number(Int64(bitPattern: id.rawValue)), .number(hold.since.milliseconds),
                        hold.until.map { .number($0.milliseconds) } ?? .null, .bytes(Array(hold.written.utf8)),
                    ]
                )
            }
            try connection.run("COMMIT")
        }
    }

    /// Those of all nodes: which are this one's is known when it has taken its messages.
    ///
    /// Where they cannot be read ``recover(_:)`` fails: nothing may leave that somebody stopped.
    package func savedHolds() -> [QueueID: Hold] {
        do throws(ServerError) {
            let connection = try firstConnection()
            first.withLock { $0 = connection }
            guard try SharedSchema.found(connection) > 0 else { return [:] }
            let rows = try connection.rows("SELECT id, since, until, reason FROM martlet.hold")
            var holds: [QueueID: Hold] = [:]
            for row in 0..<rows.count {
                let id = QueueID(rawValue: UInt64(bitPattern: rows.integer(row, 0)))
                holds[id] = Hold(rows, row, from: 1)
            }
            return holds
        } catch {
            obstacle.withLock { $0 = QueueError(error) }
            return [:]
        }
    }
}

extension Hold {
    /// - Parameter column: of `since`; `until` and `reason` follow.
    init(_ rows: ServerRows, _ row: Int, from column: Int32) {
        self.init(
            since: Timestamp(milliseconds: rows.integer(row, column)),
            until: rows.isNull(row, column + 1) ? nil : Timestamp(milliseconds: rows.integer(row, column + 1)),
            written: String(decoding: rows.bytes(row, column + 2), as: UTF8.self)
        )
    }
}

// MARK: - Following

extension SharedStore {
    package func follow(
        from position: JournalPosition?,
        atMost bytes: Int,
        _ visit: (JournalEntry) -> Void
    ) throws(QueueError) -> JournalReading {
        try journal.follow(from: position, atMost: bytes, visit)
    }

    package func message(_ id: QueueID) throws(QueueError) -> JournalMessage? { try journal.message(id) }

    package func passed(_ position: JournalPosition) { journal.passed(position) }

    package func awaitNews(behind position: JournalPosition?, atMost milliseconds: Int) {
        journal.awaitNews(behind: position, atMost: milliseconds)
    }

    /// The mail is elsewhere.
    package func hasDisk(for bytes: Int) -> Bool {
        (try? disk.space(at: directory)).map { $0.freeBytes >= 2 * bytes } ?? true
    }

    /// Every batch of notes is committed by itself.
    package func syncNotes() {}

    package func stopFollowing() { journal.stop() }
}
