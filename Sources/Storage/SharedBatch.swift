// SharedBatch.swift — what is committed together: messages, states, ends and facts as one transaction's text and rows. Pure.

import Database
import Mail

/// One transaction in the making.
struct SharedBatch {
    /// What a row of the journal says.
    enum Kind: Int16 {
        case message = 1
        case note = 2
        case settled = 3
        /// A note, and an end, whose facts may stand there already.
        case noteAgain = 4
        case settledAgain = 5

        static func of(_ facts: Facts, isEnd: Bool) -> Kind {
            isEnd ? facts.mayBeThere ? .settledAgain : .settled : facts.mayBeThere ? .noteAgain : .note
        }
    }

    /// Bytes of rows that are gathered before they are sent.
    private static let sent = 512 << 10

    private(set) var messages: [NewMessage] = []
    private(set) var states: [QueueID: DeliveryState] = [:]
    private(set) var settled: Set<QueueID> = []
    /// Which messages are there only if the other one is this node's.
    private(set) var links: [(report: QueueID, about: QueueID)] = []
    private(set) var journal: [(id: QueueID, kind: Kind, facts: Facts)] = []
    /// What it was made of, to be kept when it cannot be written.
    private(set) var items: [SpoolItem] = []

    var isEmpty: Bool { items.isEmpty }

    /// The notes with reports among it.
    var joints: [JointNote] {
        links.isEmpty ? [] : items.compactMap { if case .joint(let joint) = $0 { joint } else { nil } }
    }

    /// - Parameter isFollowed: somebody reads the journal.
    mutating func add(_ item: SpoolItem, isFollowed: Bool) {
        items.append(item)
        put(item, isFollowed: isFollowed)
    }

    private mutating func put(_ item: SpoolItem, isFollowed: Bool) {
        var facts: (id: QueueID, kind: Kind, facts: Facts)?
        switch item {
        case .message(let message):
            messages.append(message)
            facts = (message.id, .message, .none)
        case .move(let move):
            messages.append(move.message)
            states[move.message.id] = move.state
        case .attempt(let id, let state, let told):
            if !settled.contains(id) { states[id] = state }
            facts = (id, .of(told, isEnd: false), told)
        case .settled(let id, _, let told):
            states[id] = nil
            settled.insert(id)
            facts = (id, .of(told, isEnd: true), told)
        case .facts(let id, let told): facts = (id, .of(told, isEnd: false), told)
        case .joint(let joint):
            for report in joint.reports {
                put(.message(report), isFollowed: isFollowed)
                links.append((report.id, joint.id))
            }
            put(joint.alone, isFollowed: isFollowed)
        case .found, .foundAll, .sync: break
        }
        if isFollowed, let facts { journal.append(facts) }
    }

    /// The statements.
    ///
    /// It leaves its number behind, by which it is known later whether it was committed: that of the transaction is not enough,
    /// because a new primary may give the same to another one. Rows come of the first, the transaction's number; where there are
    /// reports, of their withdrawal: those whose message is not this node's any more; and of the last where there are states:
    /// the ids that were this node's.
    ///
    /// - Parameters:
    ///   - own: numbers of this process's lives; the last is the one it is in.
    ///   - number: later than those of all earlier batches of this life.
    ///   - journal: the node's name, and the number of the first row of the journal.
    func sql(own: [Int64], number: Int64, journal first: (node: String, number: Int64) = ("", 0)) -> String {
        var text = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_current_xact_id()::text;"
        if !messages.isEmpty {
            text += "COPY martlet.mail (id, piece, head, content) FROM STDIN (FORMAT binary);"
            text += "COPY martlet.message (id, owner, size) FROM STDIN (FORMAT binary);"
        }
        if !journal.isEmpty {
            text += "COPY martlet.journal (node, number, id, kind, facts) FROM STDIN (FORMAT binary);"
        }
        let owners = own.map(String.init).joined(separator: ",")
        text += withdrawal(owners, first)
        if !settled.isEmpty {
            let ids = settled.map { "\(Int64(bitPattern: $0.rawValue))" }.joined(separator: ",")
            text += "DELETE FROM martlet.message WHERE id IN (\(ids)) AND owner IN (\(owners));"
        }
        if !states.isEmpty {
            let values = states.map { id, state in
                "(\(Int64(bitPattern: id.rawValue))::bigint,'\\x\(Self.hex(state))'::bytea)"
            }
            text += "UPDATE martlet.message AS q SET state = u.state FROM (VALUES \(values.joined(separator: ",")))"
            text += " AS u(id, state) WHERE q.id = u.id AND q.owner IN (\(owners)) RETURNING q.id;"
        }
        text += "INSERT INTO martlet.batch VALUES (\(own.last ?? 0),\(number))"
        text += " ON CONFLICT (incarnation) DO UPDATE SET number = excluded.number;"
        return text + "COMMIT"
    }

    /// Takes reports back whose message changed hands: who has it now reports by itself.
    ///
    /// Whoever takes messages over passes those by that are locked, so what is this node's here is so at the end.
    private func withdrawal(_ owners: String, _ first: (node: String, number: Int64)) -> String {
        guard !links.isEmpty else { return "" }
        let pairs = links.map { "(\(Self.number($0.report))::bigint,\(Self.number($0.about))::bigint)" }
        let abouts = Set(links.map(\.about)).map(Self.number).joined(separator: ",")
        let node = "convert_from('\\x\(Array(first.node.utf8).hexadecimal)'::bytea,'UTF8')"
        return """
            DO $$ BEGIN PERFORM 1 FROM martlet.message WHERE id IN (\(abouts)) AND owner IN (\(owners)) ORDER BY id FOR UPDATE; END $$;
            WITH gone AS (
                DELETE FROM martlet.message r USING (VALUES \(pairs.joined(separator: ","))) AS l(report, about)
                WHERE r.id = l.report AND NOT EXISTS (
                    SELECT FROM martlet.message q WHERE q.id = l.about AND q.owner IN (\(owners)))
                RETURNING r.id
            ), untold AS (
                DELETE FROM martlet.journal WHERE node = \(node) AND number >= \(first.number)
                    AND kind = \(Kind.message.rawValue) AND id IN (SELECT id FROM gone)
            ), unread AS (DELETE FROM martlet.mail WHERE id IN (SELECT id FROM gone))
            SELECT id FROM gone;
            """
    }

    private static func number(_ id: QueueID) -> String { "\(Int64(bitPattern: id.rawValue))" }

    /// Gives the rows of one COPY of ``sql(own:)``.
    ///
    /// - Parameters:
    ///   - place: of the COPY among the others.
    ///   - number: of the first row of the journal.
    func fill(
        _ place: Int,
        owner: Int64,
        node: String,
        from number: Int64,
        to connection: ServerConnection
    ) throws(ServerError) {
        switch messages.isEmpty ? 2 : place {
        case 0: try fillMail(connection)
        case 1: try fillMessages(owner, connection)
        default: try fillJournal(Array(node.utf8), number, connection)
        }
    }

    private func fillMail(_ connection: ServerConnection) throws(ServerError) {
        var rows = CopyRows()
        for message in messages {
            try SharedMail.fill(message, &rows, to: connection)
            if rows.bytes.count >= Self.sent { try connection.put(rows.take()) }
        }
        rows.end()
        try connection.put(rows.take())
    }

    private func fillMessages(_ owner: Int64, _ connection: ServerConnection) throws(ServerError) {
        var rows = CopyRows()
        for message in messages {
            rows.row(3)
            rows.add(Int64(bitPattern: message.id.rawValue))
            rows.add(owner)
            rows.add(Int64(message.content.size))
        }
        rows.end()
        try connection.put(rows.take())
    }

    private func fillJournal(
        _ node: [UInt8],
        _ first: Int64,
        _ connection: ServerConnection
    ) throws(ServerError) {
        var rows = CopyRows()
        for (place, entry) in journal.enumerated() {
            rows.row(5)
            rows.add(node)
            rows.add(first + Int64(place))
            rows.add(Int64(bitPattern: entry.id.rawValue))
            rows.add(entry.kind.rawValue)
            rows.add(entry.facts.bytes)
            if rows.bytes.count >= Self.sent { try connection.put(rows.take()) }
        }
        rows.end()
        try connection.put(rows.take())
    }

    private static func hex(_ state: DeliveryState) -> String {
        var bytes: [UInt8] = []
        state.encode(to: &bytes)
        return bytes.hexadecimal
    }
}
