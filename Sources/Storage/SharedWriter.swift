// SharedWriter.swift — commits batches to the shared queue, and knows what to do when the database does not answer.
//
// Lives on the writer's thread alone. Guarantees: a message is told as accepted only after its COMMIT was answered, or after
// the server said of the transaction that it is committed; one whose outcome is not known in time is refused, and its end is
// written before anything else is, so that what the client sends again does not go out twice. Notes are kept meanwhile.

import CoreMetrics
import Database
import Files
import Glibc
import Mail
import Metrics
import Synchronization

final class SharedWriter: BatchWriter {
    /// Milliseconds between two attempts.
    private static let pause: Int64 = 200
    private static let heldMost = 100_000
    /// Milliseconds for which the end of the process waits for a database that is away.
    private static let farewell: Int64 = 2_000
    /// Milliseconds for which an answer is waited for at most.
    private static let longest: Int64 = 10_000
    /// Milliseconds after which a database that did not answer is asked again.
    private static let rest: Int64 = 1_000

    private var options: SharedOptions
    private let node: SharedNode
    private let journal: SharedJournal
    private let say: @Sendable (SharedNotice) -> Void
    private let committed: @Sendable ([CommitResult]) -> Void
    private var connection: ServerConnection?
    private var held = HeldNotes(limit: heldMost)
    /// Notes with reports that stood in the transaction whose outcome is not known.
    private var unsure: [JointNote] = []
    /// A transaction whose COMMIT was not answered: its number on the server.
    private var pending: String?
    /// The life and the number of the last batch.
    private var batch: (incarnation: Int64, number: Int64) = (0, 0)
    /// Of the last row of the journal in the last attempt.
    private var number: Int64 = 0
    /// Why nothing can be written, and when the next try may be made.
    private var trouble: (error: QueueError, until: Uptime)?

    init(
        _ options: SharedOptions,
        _ node: SharedNode,
        _ journal: SharedJournal,
        say: @escaping @Sendable (SharedNotice) -> Void,
        committed: @escaping @Sendable ([CommitResult]) -> Void
    ) {
        self.options = options
        self.node = node
        self.journal = journal
        self.say = say
        self.committed = committed
    }

    func commit(_ items: [SpoolItem]) {
        var small = SharedBatch()
        var large: [SharedBatch] = []
        if trouble.map({ Uptime.now() >= $0.until }) ?? true, resolve() {
            for item in held.takeAll() { small.add(item, isFollowed: journal.isFollowed) }
        }
        var bells: [SyncBell] = []
        for item in items {
            if case .sync(let bell) = item {
                bells.append(bell)
                continue
            }
            if item.isLarge {
                // Its file may turn out unreadable: nobody else's mail is to fail with it.
                var alone = SharedBatch()
                alone.add(item, isFollowed: journal.isFollowed)
                large.append(alone)
            } else {
                small.add(item, isFollowed: journal.isFollowed)
            }
        }
        // Large ones first: their ends may be among the notes.
        for batch in large + [small] where !batch.isEmpty { write(batch) }
        if small.isEmpty, large.isEmpty, node.trouble != nil { probe() }
        for bell in bells { bell.ring(held.isEmpty && unsure.isEmpty) }
    }

    func close() {
        trouble = nil
        options.patience = Self.farewell
        connection?.patience = Int(Self.farewell)
        if !held.isEmpty || !unsure.isEmpty { commit([]) }
        // Who has their messages next reports by itself.
        let left = (unsure + held.takeJoints()).flatMap(\.reports)
        if !left.isEmpty { committed(left.map { CommitResult(id: $0.id, result: .failure(.closing)) }) }
        connection = nil
    }

    /// Learns what became of the transaction that was given up without an answer.
    ///
    /// - Returns: false while that cannot be known.
    private func resolve() -> Bool {
        guard pending != nil else { return true }
        do throws(ServerError) {
            let connection = try connected()
            let isCommitted = try outcome(connection) ?? false
            if isCommitted {
                tell(unsure, withdrawn: try withdrawn(unsure, connection))
            } else {
                for joint in unsure { held.add(.joint(joint)) }
            }
            unsure = []
            return true
        } catch {
            if error.isLost { connection = nil }
            trouble = (QueueError(error), Uptime.now().adding(milliseconds: Self.rest))
            return false
        }
    }

    /// Of reports whose transaction was committed, those that are not there.
    private func withdrawn(
        _ joints: [JointNote],
        _ connection: ServerConnection
    ) throws(ServerError) -> Set<QueueID> {
        let ids = joints.flatMap(\.reports).map(\.id)
        guard !ids.isEmpty else { return [] }
        let rows = try connection.rows(
            "SELECT id FROM martlet.message WHERE id = ANY($1)",
            [.numbers(ids.map { Int64(bitPattern: $0.rawValue) })]
        )
        let there = (0..<rows.count).map { QueueID(rawValue: UInt64(bitPattern: rows.integer($0, 0))) }
        return Set(ids).subtracting(there)
    }

    /// Nothing is to be written; whether it could be is tried for others' sake.
    private func probe() {
        guard pending == nil, trouble.map({ Uptime.now() >= $0.until }) ?? true, let life = node.incarnation else {
            return
        }
        do throws(ServerError) {
            let connection = try connected()
            let number = batch.incarnation == life ? batch.number : 0
            try connection.tryMail(node.own(QueueID(at: .now())), node: options.node, batch: (life, number))
            trouble = nil
            if node.setTrouble(nil) { say(.back) }
        } catch {
            trouble = (QueueError(error), Uptime.now().adding(milliseconds: Self.rest))
            if error.isLost || error.isReadOnly { connection = nil }
        }
    }

    // MARK: - One transaction

    private func write(_ batch: SharedBatch) {
        if let trouble, Uptime.now() < trouble.until { return refuse(batch, trouble.error, isUnknown: false) }
        let start = Uptime.now()
        // Who is known to be away is asked once.
        let end = trouble == nil ? start.adding(milliseconds: options.patience / 2) : start
        var wasSent = false
        while true {
            do throws(ServerError) {
                try attempt(batch, &wasSent)
                if trouble != nil { trouble = nil }
                return
            } catch {
                if !error.isPassing, !error.isFull, batch.messages.count > 1, error.state.utf8.first == 0x32 {
                    // Classes 22 and 23: something about one of them.
                    return writeOneByOne(batch)
                }
                let now = Uptime.now()
                guard error.isPassing, now.adding(milliseconds: Self.pause) < end else {
                    trouble = (QueueError(error), now.adding(milliseconds: Self.rest))
                    if node.setTrouble("\(error)") { say(.away("\(error)")) }
                    if !error.isPassing, error.state.utf8.first == 0x32, case .joint(let joint)? = batch.items.first {
                        return giveUp(joint, error)
                    }
                    return refuse(batch, QueueError(error), isUnknown: wasSent && pending != nil)
                }
                usleep(UInt32(Self.pause) * 1_000)
            }
        }
    }

    private func writeOneByOne(_ batch: SharedBatch) {
        for item in batch.items {
            var alone = SharedBatch()
            alone.add(item, isFollowed: journal.isFollowed)
            write(alone)
        }
    }

    /// Writes the batch and tells of it, under one lock with those who change what life this node is in.
    ///
    /// - Parameter wasSent: some attempt at this batch came so far that its outcome may be unknown.
    private func attempt(_ batch: SharedBatch, _ wasSent: inout Bool) throws(ServerError) {
        let connection = try connected()
        if let isCommitted = try outcome(connection), isCommitted, wasSent {
            // Of this batch: nothing else is written in between.
            let withdrawn = try withdrawn(batch.joints, connection)
            return node.writing.withLock { _ in tell(batch, updated: nil, withdrawn: withdrawn) }
        }
        wasSent = false
        var sent = false
        defer { wasSent = sent }
        try node.writing.withLock { _ throws(ServerError) in
            guard let incarnation = node.incarnation else {
                throw ServerError(state: "08000", text: "this node is none of the queue's")
            }
            let count = batch.journal.count
            number = journal.take(count)
            self.batch = (incarnation, self.batch.number + 1)
            var (updated, withdrawn): (Set<QueueID>, Set<QueueID>) = ([], [])
            var answers = 0
            let start = Self.nanoseconds
            do throws(ServerError) {
                let first = number - Int64(count) + 1
                let sql = batch.sql(own: node.own, number: self.batch.number, journal: (options.node, first))
                try connection.run(sql) { place throws(ServerError) in
                    try batch.fill(place, owner: incarnation, node: options.node, from: first, to: connection)
                } each: { rows in
                    answers += 1
                    guard answers > 1 else {
                        pending = rows.text(0, 0)
                        return
                    }
                    let ids = (0..<rows.count).map { QueueID(rawValue: UInt64(bitPattern: rows.integer($0, 0))) }
                    if answers == 2, !batch.links.isEmpty { withdrawn.formUnion(ids) } else { updated.formUnion(ids) }
                }
                pending = nil
            } catch {
                if error.isLost {
                    self.connection = nil
                    sent = pending != nil
                } else {
                    pending = nil
                    do throws(ServerError) { try connection.run("ROLLBACK") } catch { self.connection = nil }
                    // Another server may be the primary by now.
                    if error.isReadOnly { self.connection = nil }
                }
                throw error
            }
            StorageMetrics.commit.recordNanoseconds(Self.nanoseconds - start)
            tell(batch, updated: updated, withdrawn: withdrawn)
        }
    }

    private func connected() throws(ServerError) -> ServerConnection {
        if let connection, !connection.isLost { return connection }
        // One question is not waited for longer than mail waits for all of them.
        let made = try ServerConnection(options.place, patience: Int(min(Self.longest, max(500, options.patience / 2))))
        connection = made
        return made
    }

    /// What became of the transaction whose COMMIT was not answered; nil: there is none.
    ///
    /// - Throws: ``ServerError``, passing, while it goes on.
    private func outcome(_ connection: ServerConnection) throws(ServerError) -> Bool? {
        guard let number = pending else { return nil }
        do throws(ServerError) {
            var status = ""
            try connection.run(
                "SELECT pg_xact_status('\(UInt64(number) ?? 0)'::xid8)",
                each: { status = $0.text(0, 0) }
            )
            if status == "in progress" { throw ServerError(state: "55P03", text: "a commit is under way for long") }
        } catch {
            // A new primary that never saw it.
            guard error.isUnknownTransaction else { throw error }
        }
        // It is over, so what it left can be seen now if it was committed.
        var last: Int64 = 0
        let sql = "SELECT number FROM martlet.batch WHERE incarnation = \(batch.incarnation)"
        try connection.run(sql, each: { if $0.count > 0 { last = $0.integer(0, 0) } })
        pending = nil
        return last == batch.number
    }

    private static var nanoseconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    // MARK: - Telling

    /// - Parameters:
    ///   - updated: whose state was written; nil: nobody knows.
    ///   - withdrawn: reports that are not there, because their message is another node's.
    private func tell(_ batch: SharedBatch, updated: Set<QueueID>?, withdrawn: Set<QueueID>) {
        if node.setTrouble(nil) { say(.back) }
        let location = Location(number: UInt64(bitPattern: node.own.last ?? 0))
        var results: [CommitResult] = []
        for item in batch.items {
            switch item {
            case .message(let message): results.append(CommitResult(id: message.id, result: .success(location)))
            case .move(let move): move.finish(.success(location))
            case .joint, .attempt, .settled, .facts, .found, .foundAll, .sync: break
            }
        }
        results += self.results(batch.joints, withdrawn: withdrawn)
        journal.wrote(upTo: number)
        guard self.batch.incarnation == node.incarnation else { return tellLate(results) }
        if !results.isEmpty { committed(results) }
        guard let updated else { return }
        let isLost = batch.links.filter { withdrawn.contains($0.report) }.map(\.about)
        let lost = batch.states.keys.filter { !updated.contains($0) } + isLost
        if !lost.isEmpty { node.news.lost(lost) }
    }

    private func results(_ joints: [JointNote], withdrawn: Set<QueueID>) -> [CommitResult] {
        let location = Location(number: UInt64(bitPattern: node.own.last ?? 0))
        return joints.flatMap { joint in
            joint.reports.map { report in
                guard withdrawn.contains(report.id) else {
                    return CommitResult(id: report.id, result: .success(location))
                }
                say(.withdrawn(report.id, about: joint.id))
                return CommitResult(id: report.id, result: .failure(.damaged("\(joint.id) is another node's")))
            }
        }
    }

    /// Tells late of notes with reports that stood in a transaction whose answer was lost.
    private func tell(_ joints: [JointNote], withdrawn: Set<QueueID>) {
        let results = results(joints, withdrawn: withdrawn)
        guard batch.incarnation == node.incarnation else { return tellLate(results) }
        if !results.isEmpty { committed(results) }
    }

    /// Something about the reports themselves is wrong: the note stands, and people hear of what is lost.
    private func giveUp(_ joint: JointNote, _ error: ServerError) {
        for report in joint.reports { say(.setAside(report.id, "report about \(joint.id): \(error)")) }
        committed(joint.reports.map { CommitResult(id: $0.id, result: .failure(QueueError(error))) })
        held.add(joint.alone)
    }

    /// What was committed in a former life, as is known only now: its clients hear so, and the mail is whoever's takes it over.
    private func tellLate(_ results: [CommitResult]) {
        guard !results.isEmpty else { return }
        // Nothing may begin until the queue has forgotten them.
        node.news.leased(Uptime(milliseconds: .min))
        committed(results)
        node.news.lost(results.map(\.id))
        node.news.leased(node.leaseEnd)
    }

    /// - Parameter isUnknown: it may be there nevertheless.
    private func refuse(_ batch: SharedBatch, _ error: QueueError, isUnknown: Bool) {
        var results: [CommitResult] = []
        for item in batch.items {
            switch item {
            case .message(let message):
                results.append(CommitResult(id: message.id, result: .failure(error)))
                // The client hears of a failure and will send it again.
                if isUnknown { held.add(.settled(message.id, nil, .none)) }
            case .move(let move): move.finish(.failure(error))
            case .joint(let joint): if isUnknown { unsure.append(joint) } else { held.add(item) }
            case .attempt, .settled, .facts: held.add(item)
            case .found, .foundAll, .sync: break
            }
        }
        if !results.isEmpty { committed(results) }
    }
}

extension SpoolItem {
    /// Its body lies in a file.
    fileprivate var isLarge: Bool {
        switch self {
        case .message(let message): message.content.isFile
        case .move(let move): move.message.content.isFile
        case .joint(let joint): joint.reports.contains { $0.content.isFile }
        case .attempt, .settled, .facts, .found, .foundAll, .sync: false
        }
    }
}

extension Content {
    fileprivate var isFile: Bool {
        if case .file = body { true } else { false }
    }
}
