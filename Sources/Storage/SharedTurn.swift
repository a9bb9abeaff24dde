// SharedTurn.swift — the thread that deals with other nodes several times a second: grants, days, questions, mail that is given away.

import Database
import Files
import Mail
import Synchronization

final class SharedTurn: Sendable {
    /// Milliseconds between two turns.
    private static let pause = 100
    /// Milliseconds between two looks at what others lack.
    private static let contest: Int64 = 500
    /// Milliseconds between two looks at everything.
    private static let round: Int64 = 2_000
    /// Milliseconds between two turns while the database is away.
    private static let rest = 1_000
    /// Messages that are given away at once because their lane has no part here.
    private static let handful = 500

    private let options: SharedOptions
    private let node: SharedNode
    private let say: @Sendable (SharedNotice) -> Void
    private let thread = SharedThread()
    private let pool: SharedPool
    private let desk = Mutex<ErrandDesk?>(nil)
    /// Questions that are being answered.
    private let busy = Mutex<Set<Int64>>([])

    init(
        _ options: SharedOptions,
        _ node: SharedNode,
        _ pool: SharedPool,
        say: @escaping @Sendable (SharedNotice) -> Void
    ) {
        self.options = options
        self.node = node
        self.pool = pool
        self.say = say
    }

    func serve(_ desk: @escaping ErrandDesk) { self.desk.withLock { $0 = desk } }

    func start() -> Bool { thread.start { self.work() } }

    func stop() { thread.stop() }

    private struct Times {
        var contest = Uptime(milliseconds: .min)
        var round = Uptime(milliseconds: .min)
    }

    private func work() {
        var connection: ServerConnection?
        var grants = SharedGrants()
        var times = Times()
        while !thread.isStopping {
            thread.rest(milliseconds: connection == nil && node.trouble != nil ? Self.rest : Self.pause)
            guard !thread.isStopping, node.incarnation != nil else { continue }
            do throws(ServerError) {
                if connection?.isLost ?? true { connection = try ServerConnection(options.place, patience: 4_000) }
                guard let open = connection else { continue }
                try turn(open, &grants, &times)
            } catch {
                // Whoever writes tells of a database that is away.
                connection = nil
                if node.trouble == nil { thread.rest(milliseconds: Self.pause) }
            }
        }
        guard let connection, !connection.isLost else { return }
        // What is not sent today is for the others.
        try? SharedDays.settle(node.grants.days(true), node, connection)
    }

    private func turn(
        _ connection: ServerConnection,
        _ grants: inout SharedGrants,
        _ times: inout Times
    ) throws(ServerError) {
        guard let own = node.incarnation else { return }
        let now = Uptime.now()
        let isRound = now >= times.round
        var wishes = node.grants.wishes(isRound)
        if now >= times.contest {
            times.contest = now.adding(milliseconds: Self.contest)
            let known = Set(wishes.map(\.lane))
            let contested = try SharedGrants.contested(own, connection).subtracting(known)
            if !contested.isEmpty { wishes += node.grants.wishes(true).filter { contested.contains($0.lane) } }
        }
        while !wishes.isEmpty {
            let some = Array(wishes.prefix(SharedGrants.most))
            wishes.removeFirst(some.count)
            for (lane, heir) in try grants.settle(some, node, connection, at: now) {
                try hand(node.grants.hand(lane, Self.handful), to: heir, connection)
            }
        }
        try SharedDays.settle(node.grants.days(false), node, connection)
        if let desk = desk.withLock({ $0 }) { try takeErrands(own, desk, connection) }
        if isRound {
            times.round = now.adding(milliseconds: Self.round)
            try balance(own, connection)
        }
    }

    private func takeErrands(
        _ own: Int64,
        _ desk: ErrandDesk,
        _ connection: ServerConnection
    ) throws(ServerError) {
        for (number, question) in try SharedErrands.open(own, connection)
        where busy.withLock({ $0.insert(number).inserted }) {
            desk(question) { [self] answer in
                // Who asked waits no longer, or asks again.
                try? SharedErrands.close(number, answer, pool)
                _ = busy.withLock { $0.remove(number) }
            }
        }
    }

    /// Gives to who has little, where this node has much.
    private func balance(_ own: Int64, _ connection: ServerConnection) throws(ServerError) {
        let due = node.grants.due()
        let rows = try connection.patiently { connection throws(ServerError) in
            try connection.rows(
                """
                WITH mine AS (UPDATE martlet.node SET due = $2 WHERE incarnation = $1 AND due <> $2)
                SELECT incarnation, due FROM martlet.node
                WHERE NOT is_dead AND NOT is_draining AND lease_until > clock_timestamp() AND incarnation <> $1
                """,
                [.number(own), .number(Int64(due))]
            )
        }
        let others = (0..<rows.count).map { (node: rows.integer($0, 0), due: Int(rows.integer($0, 1))) }
        // Most of the time nobody has much more than anybody else.
        guard !node.isDraining, Balance.gift(own: due, others: others) != nil, let lane = node.grants.fullest() else {
            return
        }
        let claims = try SharedGrants.claims([lane.lane], connection)[lane.lane] ?? []
        let takers = others.filter { Balance.mayTake($0.node, lane.limit, claims) }
        guard let gift = Balance.gift(own: due, others: takers) else { return }
        try hand(node.grants.hand(lane.lane, gift.count), to: gift.node, connection)
    }

    private func hand(_ ids: [QueueID], to heir: Int64, _ connection: ServerConnection) throws(ServerError) {
        guard !ids.isEmpty else { return }
        do throws(ServerError) {
            _ = try connection.rows(
                "UPDATE martlet.message SET owner = $3 WHERE id = ANY($1) AND owner = ANY($2) RETURNING 1",
                [
                    .numbers(ids.map { Int64(bitPattern: $0.rawValue) }), .numbers(node.own),
                    .number(SharedNode.gift(to: heir)),
                ]
            )
        } catch {
            // They are in nobody's memory now, and may still be this life's.
            node.join(as: nil)
            throw error
        }
        StorageMetrics.count(handed: ids.count)
        say(.handed(ids.count))
    }
}
