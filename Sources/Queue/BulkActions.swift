// BulkActions.swift — the same command for many messages: planned first, then carried out in slices by a job to follow.
//
// A plan holds the exact ids, so that what was looked at is what is done. Plans and jobs are bounded in number; the former
// are forgotten after ten minutes, the latter when a hundred newer ones are there.

package import Mail
import Storage
import Synchronization

/// What to do with many messages.
package enum BulkAction: Hashable, Sendable {
    case retry
    /// - Parameter until: when they go on by themselves; nil: when they are released.
    case hold(reason: String, until: Timestamp? = nil)
    case release
    /// What is to bounce goes on.
    case revive
    /// With a report it waits for `bounce_grace`.
    case remove(withReport: Bool, reason: String)

    /// The word for the API.
    package var name: String {
        switch self {
        case .retry: "retry"
        case .hold: "hold"
        case .release: "release"
        case .revive: "revive"
        case .remove: "remove"
        }
    }
}

/// What a bulk action would do.
package struct BulkPlan: Sendable {
    /// Names the plan, to carry it out.
    package let token: String
    package let action: BulkAction
    package let matched: Int
    /// Prologues and bodies, in bytes.
    package let bytes: Int
    /// The first ten.
    package let sample: [QueueRow]
}

/// How far a bulk action has come.
package struct BulkJob: Hashable, Sendable, Identifiable {
    /// Whether it still goes on.
    package enum State: String, Hashable, Sendable, CaseIterable {
        case running, done, cancelled
    }

    package let id: String
    package let action: BulkAction
    package var state = State.running
    package let matched: Int
    package var done = 0
    /// Gone meanwhile, or so already.
    package var skipped = 0
    /// In flight, or not possible for another reason.
    package var failed = 0
    /// The first reason of a failure.
    package var problem: String?
    /// Whether ``BulkActions/undo(_:at:wall:)`` can take back what it did.
    package var isUndoable = false
    package let startedAt: Timestamp
    package var finishedAt: Timestamp?
}

/// Plans and jobs.
package final class BulkActions: Sendable {
    private struct Planned {
        let action: BulkAction
        let ids: [QueueID]
        let until: Uptime
    }

    private struct State {
        var plans: [String: Planned] = [:]
        var jobs: [BulkJob] = []
        var cancelled: Set<String> = []
        /// By job, the oldest first in `jobs`: what holds changed.
        var trails: [String: HoldTrail] = [:]
    }

    /// What a job has to do.
    private enum Work {
        case act(BulkAction, [QueueID])
        case takeBack(HoldTrail)

        var count: Int {
            switch self {
            case .act(_, let ids): ids.count
            case .takeBack(let trail): trail.count
            }
        }
    }

    private static let mostPlans = 16
    private static let mostJobs = 100
    /// Messages whose holds can be taken back, over all jobs; the oldest job's are forgotten first.
    private static let mostTrailed = 2_000_000
    /// Milliseconds that a plan can be carried out.
    private static let planLife: Int64 = 600_000
    private static let unwritten = CommandResult.failed("the list of held messages could not be written")
    /// Messages between two looks at whether to go on.
    private static let slice = 500

    private let queue: MailQueue
    private let state = Mutex(State())

    package init(_ queue: MailQueue) { self.queue = queue }

    /// Finds what an action would be done to.
    ///
    /// Blocks.
    package func plan(
        _ action: BulkAction,
        _ filter: QueueFilter,
        at now: Uptime = .now(),
        wall: Timestamp = .now()
    ) -> BulkPlan {
        queue.awaitRecovery()
        var ids: [QueueID] = []
        var bytes = 0
        var sample: [QueueRow] = []
        if filter.needsEnvelope {
            queue.forEach(filter, at: now, wall: wall) { row in
                ids.append(row.id)
                bytes += row.size
                if sample.count < 10 { sample.append(row) }
                return true
            }
        } else {
            queue.walk(filter, now: now, wall: wall) { state, slot in
                state[slot].map { (id: $0.id, size: $0.size) }
            } visit: { part in
                ids += part.map(\.id)
                bytes += part.reduce(0) { $0 + $1.size }
                return true
            }
            queue.forEach(filter, at: now, wall: wall) { row in
                sample.append(row)
                return sample.count < 10
            }
        }
        let token = name()
        state.withLock { state in
            state.plans = state.plans.filter { $0.value.until > now }
            while state.plans.count >= Self.mostPlans,
                let oldest = state.plans.min(by: { $0.value.until < $1.value.until })
            {
                state.plans[oldest.key] = nil
            }
            let until = now.adding(milliseconds: Self.planLife)
            state.plans[token] = Planned(action: action, ids: ids, until: until)
        }
        return BulkPlan(token: token, action: action, matched: ids.count, bytes: bytes, sample: sample)
    }

    /// Carries a plan out, once.
    ///
    /// - Returns: nil when the plan is not known, or no longer.
    package func start(_ token: String, at now: Uptime = .now(), wall: Timestamp = .now()) -> BulkJob? {
        let started: (BulkJob, Work)? = state.withLock { state in
            guard let plan = state.plans.removeValue(forKey: token), plan.until > now else { return nil }
            return (add(plan.action, plan.ids.count, wall, &state), .act(plan.action, plan.ids))
        }
        guard let (job, work) = started else { return nil }
        Task { await run(job, work) }
        return job
    }

    /// Takes back what a hold did, or a bounce that waits, once: exactly the messages that it found, unless somebody has said
    /// another word since.
    ///
    /// - Returns: a job of its own, a release; nil when there is nothing to take back, or it is not over.
    package func undo(_ id: String, wall: Timestamp = .now()) -> BulkJob? {
        let started: (BulkJob, Work)? = state.withLock { state in
            guard let place = state.jobs.firstIndex(where: { $0.id == id && $0.isUndoable }),
                let trail = state.trails.removeValue(forKey: id)
            else { return nil }
            state.jobs[place].isUndoable = false
            return (add(.release, trail.count, wall, &state), .takeBack(trail))
        }
        guard let (job, work) = started else { return nil }
        Task { await run(job, work) }
        return job
    }

    private func add(_ action: BulkAction, _ count: Int, _ wall: Timestamp, _ state: inout State) -> BulkJob {
        let job = BulkJob(id: name(), action: action, matched: count, startedAt: wall)
        state.jobs.append(job)
        while state.jobs.count > Self.mostJobs, let old = state.jobs.firstIndex(where: { $0.state != .running }) {
            state.trails[state.jobs.remove(at: old).id] = nil
        }
        return job
    }

    /// A job, as far as it has come.
    package func job(_ id: String) -> BulkJob? { state.withLock { $0.jobs.first { $0.id == id } } }

    /// All jobs that are remembered, the oldest first.
    package var jobs: [BulkJob] { state.withLock { $0.jobs } }

    /// Ends a job before its next slice; what is done stays done.
    ///
    /// - Returns: false when there is no such job, or it is over.
    package func cancel(_ id: String) -> Bool {
        state.withLock { state in
            guard state.jobs.contains(where: { $0.id == id && $0.state == .running }) else { return false }
            state.cancelled.insert(id)
            return true
        }
    }

    private func name() -> String { String(UInt64.random(in: .min ... .max), radix: 36) }

    private func run(_ job: BulkJob, _ work: Work) async {
        var position = 0
        var trail: HoldTrail?
        if case .hold(let reason, let until) = job.action {
            trail = HoldTrail(Hold(since: job.startedAt, until: until, reason: reason))
        } else if case .remove(true, let reason) = job.action {
            trail = queue.graceHold(because: reason, at: job.startedAt).map { HoldTrail($0) }
        }
        while position < work.count, !state.withLock({ $0.cancelled.contains(job.id) }) {
            let slice = position..<min(position + Self.slice, work.count)
            note(await carryOut(work, slice, &trail), of: job.id)
            position = slice.upperBound
        }
        let isOver = position >= work.count
        state.withLock { state in
            state.cancelled.remove(job.id)
            guard let place = state.jobs.firstIndex(where: { $0.id == job.id }) else { return }
            state.jobs[place].state = isOver ? .done : .cancelled
            state.jobs[place].finishedAt = .now()
            if let trail, trail.count > 0 { keep(trail, at: place, &state) }
        }
    }

    private func keep(_ trail: HoldTrail, at place: Int, _ state: inout State) {
        state.trails[state.jobs[place].id] = trail
        state.jobs[place].isUndoable = true
        var count = state.trails.values.reduce(0) { $0 + $1.count }
        for index in state.jobs.indices where count > Self.mostTrailed {
            guard let forgotten = state.trails.removeValue(forKey: state.jobs[index].id) else { continue }
            state.jobs[index].isUndoable = false
            count -= forgotten.count
        }
    }

    private func carryOut(_ work: Work, _ slice: Range<Int>, _ trail: inout HoldTrail?) async -> [CommandResult] {
        let queue = queue
        switch work {
        case .takeBack(let trail):
            return await listed(trail[slice], failed: Self.unwritten) { steps throws(QueueError) in
                try queue.takeBack(steps)
            }
        case .act(.retry, let ids):
            return ids[slice].map { queue.retry($0) }
        case .act(.hold, let ids):
            return await hold(ids[slice], &trail)
        case .act(.revive, let ids):
            return await listed(Array(ids[slice]), failed: Self.unwritten) { ids throws(QueueError) in
                try queue.revive(ids)
            }
        case .act(.release, let ids):
            return await listed(Array(ids[slice]), failed: Self.unwritten) { ids throws(QueueError) in
                try queue.release(ids)
            }
        case .act(.remove, let ids) where trail != nil:
            return await hold(ids[slice], &trail)
        case .act(.remove(let withReport, let reason), let ids):
            var results: [CommandResult] = []
            for id in ids[slice] { results.append(await queue.remove(id, withReport: withReport, reason: reason)) }
            return results
        }
    }

    private func hold(_ ids: ArraySlice<QueueID>, _ trail: inout HoldTrail?) async -> [CommandResult] {
        guard let hold = trail?.hold else { return [] }
        let queue = queue
        let steps = await listed(Array(ids), failed: HoldOutcome(Self.unwritten)) { ids throws(QueueError) in
            try queue.hold(ids, hold)
        }
        for (id, step) in zip(ids, steps) where step.result == .done { trail?.note(id, before: step.before) }
        return steps.map(\.result)
    }

    /// A command that writes the list of held messages; what each message gets when that cannot be written is `failed`.
    private func listed<Item: Sendable, Outcome: Sendable>(
        _ items: [Item],
        failed: Outcome,
        _ command: @escaping @Sendable ([Item]) throws(QueueError) -> [Outcome]
    ) async -> [Outcome] {
        let failures = items.map { _ in failed }
        return await queue.onDisk {
            do throws(QueueError) { return try command(items) } catch { return failures }
        } ?? failures
    }

    private func note(_ results: [CommandResult], of id: String) {
        state.withLock { state in
            guard let place = state.jobs.firstIndex(where: { $0.id == id }) else { return }
            for result in results {
                switch result {
                case .done: state.jobs[place].done += 1
                case .unchanged, .notFound: state.jobs[place].skipped += 1
                case .inFlight, .held, .dying, .failed:
                    state.jobs[place].failed += 1
                    if state.jobs[place].problem == nil { state.jobs[place].problem = Self.words(result) }
                }
            }
        }
    }

    private static func words(_ result: CommandResult) -> String? {
        switch result {
        case .inFlight: "a session had it"
        case .held: "it is held; release it first"
        case .dying: "it is to bounce; revive it first"
        case .failed(let text): text
        case .done, .unchanged, .notFound: nil
        }
    }
}
