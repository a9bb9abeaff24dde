// ChangePreview.swift — what a change of routes or limits would mean for mail that waits: counted, with examples, and a plan that
// does exactly what was shown.
//
// A plan is for one request: the same operation with `plan` in the place of `dry_run`. It is refused when it would do something
// else by now: the file changed, the request says something else, or it would reach mail that was not shown. Mail that left meanwhile
// is no reason. Plans are bounded in number, and forgotten after ten minutes.

import Config
import JSON
import Mail
import Queue
import Storage
import Synchronization

/// What a change would mean for waiting mail.
struct ChangePreview: Sendable {
    /// Mail for which the change is the same.
    struct Group: Hashable, Sendable {
        /// The next hop now.
        let route: String
        let from: String
        let to: String
    }

    /// How much of it.
    struct Amount: Sendable {
        var messages = 0
        var bytes = 0
        /// Microseconds between two messages, now and then.
        var intervals: (from: Int64?, to: Int64?)
    }

    /// Messages looked at.
    private static let mostSeen = 20_000
    private static let mostGroups = 50

    private(set) var ids: Set<QueueID> = []
    private(set) var bytes = 0
    /// The first ten.
    private(set) var sample: [QueueRow] = []
    private(set) var groups: [Group: Amount] = [:]
    /// Every waiting message was looked at.
    private(set) var isExact = true

    private mutating func add(_ row: QueueRow, _ group: Group, _ intervals: (Int64?, Int64?)) {
        ids.insert(row.id)
        bytes += row.size
        if sample.count < 10 { sample.append(row) }
        let other = Group(route: "others", from: "", to: "")
        let place = groups[group] != nil || groups.count < Self.mostGroups ? group : other
        groups[place, default: Amount(intervals: intervals)].messages += 1
        groups[place]?.bytes += row.size
    }

    private mutating func look(_ queue: MailQueue, _ visit: (QueueRow, inout ChangePreview) -> Void) {
        var seen = 0
        var found = self
        queue.forEach(QueueFilter()) { row in
            seen += 1
            visit(row, &found)
            return seen < Self.mostSeen
        }
        self = found
        isExact = seen < Self.mostSeen
    }

    /// Of another route table: the messages with a recipient that goes another way.
    init(routes before: Routes, _ after: Routes, _ queue: MailQueue) {
        guard before != after else { return }
        look(queue) { row, found in
            for recipient in row.recipients {
                let ways = [before, after].map { $0.route(for: recipient, from: row.sender) }
                guard ways[0] != ways[1] else { continue }
                let group = Group(
                    route: row.lanes.first?.name ?? "",
                    from: Self.words(ways[0]),
                    to: Self.words(ways[1])
                )
                return found.add(row, group, (nil, nil))
            }
        }
    }

    /// Of other limits: the messages for which others count.
    init(limits before: LimitRules, _ after: LimitRules, _ queue: MailQueue) {
        guard before != after else { return }
        look(queue) { row, found in
            let outlooks = queue.outlooks(of: row, under: [before, after])
            guard outlooks[0].limits != outlooks[1].limits else { return }
            let group = Group(route: row.lanes.first?.name ?? "", from: outlooks[0].words, to: outlooks[1].words)
            found.add(row, group, (outlooks[0].interval, outlooks[1].interval))
        }
    }

    /// A way, without secrets.
    private static func words(_ route: Routes.Entry?) -> String {
        guard let route else { return "the MX of the domain" }
        let way =
            switch route.way {
            case .hosts(let hosts): hosts.map { "\($0.exchange):\($0.port)" }.joined(separator: ", ")
            case .direct: "the MX of the domain"
            case .reject(let reply): "rejected: \(reply)"
            case .discard(let text): "discarded: \(text)"
            }
        return "\(route.match) (\(way))"
    }

    // MARK: JSON

    /// What an answer says of it.
    func members(_ node: String?) -> [JSON.Member] {
        let sorted = groups.sorted { ($0.value.messages, $1.key.route) > ($1.value.messages, $0.key.route) }
        let breakdown: [JSON] = sorted.map { group, amount in
            [
                "route": .string(group.route), "from": .string(group.from), "to": .string(group.to),
                "messages": .count(amount.messages), "bytes": .count(amount.bytes),
                "last_after_s": Self.span(amount.intervals.from, amount.messages),
                "last_after_s_then": Self.span(amount.intervals.to, amount.messages),
            ]
        }
        return [
            JSON.Member("matched", .count(ids.count)), JSON.Member("matched_exact", .bool(isExact)),
            JSON.Member("bytes", .count(bytes)), JSON.Member("breakdown", .array(breakdown)),
            JSON.Member("sample", .array(sample.map { QueueView.row($0, at: node) })),
        ]
    }

    /// Seconds until the last of so many messages may leave at a rate; null: no rate says.
    private static func span(_ interval: Int64?, _ messages: Int) -> JSON {
        interval.map { .integer($0 * Int64(messages) / 1_000_000) } ?? .null
    }
}

/// Plans of changes.
final class ChangePlans: Sendable {
    /// A change as it was shown.
    private struct Plan: Sendable {
        let file: ConfigFile
        let operation: String
        let key: String
        let revision: Revision
        let routes: Routes
        let limits: LimitRules
        let ids: Set<QueueID>
        let isExact: Bool
        let until: Uptime

        init(_ edit: Edit, _ preview: ChangePreview, until: Uptime) {
            (file, operation, key, revision) = (edit.file, edit.operation, edit.key, edit.revision)
            (routes, limits) = (edit.after.routes, edit.after.limits)
            (ids, isExact) = (preview.ids, preview.isExact)
            self.until = until
        }

        func comesTo(_ edit: Edit) -> Bool {
            file == .routes ? routes == edit.after.routes : limits == edit.after.limits
        }
    }

    private static let most = 16
    /// Milliseconds that a plan can be carried out.
    private static let life: Int64 = 600_000

    private let plans = Mutex<[String: Plan]>([:])

    /// Keeps what was shown.
    ///
    /// - Returns: its token.
    func keep(_ edit: Edit, _ preview: ChangePreview, at now: Uptime = .now()) -> String {
        let token = String(UInt64.random(in: .min ... .max), radix: 36)
        plans.withLock { plans in
            plans = plans.filter { $0.value.until > now }
            while plans.count >= Self.most, let oldest = plans.min(by: { $0.value.until < $1.value.until }) {
                plans[oldest.key] = nil
            }
            plans[token] = Plan(edit, preview, until: now.adding(milliseconds: Self.life))
        }
        return token
    }

    /// Whether a change would do what was shown, and nothing else; then the plan is used.
    ///
    /// - Parameters:
    ///   - trial: the change, tried now.
    ///   - preview: what it would mean now.
    /// - Returns: the version of the file that it is based on.
    func use(
        _ token: String,
        _ trial: Edit,
        _ preview: ChangePreview,
        at now: Uptime = .now()
    ) throws(Problem) -> Revision {
        guard let plan = plans.withLock({ $0[token] }), plan.until > now else {
            throw Problem(.gone, "the plan is unknown, used, or older than ten minutes; make a new one with dry_run")
        }
        guard plan.file == trial.file, plan.operation.isSame(octets: trial.operation),
            plan.key.isSame(octets: trial.key)
        else { throw Problem(.conflict, "the plan is one to \(plan.operation) \(plan.key)") }
        guard plan.revision == trial.revision else {
            throw FileEdits.problem(.stale(current: trial.revision))
        }
        guard plan.comesTo(trial) else {
            throw Problem(.conflict, "the request says something else than what was shown; look again with dry_run")
        }
        let more = plan.isExact ? preview.ids.subtracting(plan.ids).count : 0
        guard more == 0 else {
            throw Problem(
                .conflict,
                "\(more) messages would be concerned that were not shown; look again with dry_run",
                members: [JSON.Member("matched", .count(preview.ids.count)), JSON.Member("more", .count(more))]
            )
        }
        plans.withLock { $0[token] = nil }
        return plan.revision
    }
}
