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
    case remove(withReport: Bool, reason: String)

    /// The word for the API.
    package var name: String {
        switch self {
        case .retry: "retry"
        case .hold: "hold"
        case .release: "release"
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
    }

    private static let mostPlans = 16
    private static let mostJobs = 100
    /// Milliseconds that a plan can be carried out.
    private static let planLife: Int64 = 600_000
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
        let started: (BulkJob, [QueueID])? = state.withLock { state in
            guard let plan = state.plans.removeValue(forKey: token), plan.until > now else { return nil }
            let job = BulkJob(id: name(), action: plan.action, matched: plan.ids.count, startedAt: wall)
            state.jobs.append(job)
            while state.jobs.count > Self.mostJobs, let old = state.jobs.firstIndex(where: { $0.state != .running }) {
                state.jobs.remove(at: old)
            }
            return (job, plan.ids)
        }
        guard let (job, ids) = started else { return nil }
        Task { await run(job, ids) }
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

    private func run(_ job: BulkJob, _ ids: [QueueID]) async {
        var position = 0
        while position < ids.count, !state.withLock({ $0.cancelled.contains(job.id) }) {
            let slice = Array(ids[position..<min(position + Self.slice, ids.count)])
            note(await apply(job.action, slice), of: job.id)
            position += slice.count
        }
        let isOver = position >= ids.count
        state.withLock { state in
            state.cancelled.remove(job.id)
            guard let place = state.jobs.firstIndex(where: { $0.id == job.id }) else { return }
            state.jobs[place].state = isOver ? .done : .cancelled
            state.jobs[place].finishedAt = .now()
        }
    }

    private func apply(_ action: BulkAction, _ ids: [QueueID]) async -> [CommandResult] {
        let queue = queue
        switch action {
        case .retry:
            return ids.map { queue.retry($0) }
        case .hold(let reason, let until):
            return await listed(ids) { ids throws(QueueError) in try queue.hold(ids, reason: reason, until: until) }
        case .release:
            return await listed(ids) { ids throws(QueueError) in try queue.release(ids) }
        case .remove(let withReport, let reason):
            var results: [CommandResult] = []
            for id in ids { results.append(await queue.remove(id, withReport: withReport, reason: reason)) }
            return results
        }
    }

    private func listed(
        _ ids: [QueueID],
        _ command: @escaping @Sendable ([QueueID]) throws(QueueError) -> [CommandResult]
    ) async -> [CommandResult] {
        let failed = ids.map { _ in CommandResult.failed("the list of held messages could not be written") }
        return await queue.onDisk {
            do throws(QueueError) { return try command(ids) } catch { return failed }
        } ?? failed
    }

    private func note(_ results: [CommandResult], of id: String) {
        state.withLock { state in
            guard let place = state.jobs.firstIndex(where: { $0.id == id }) else { return }
            for result in results {
                switch result {
                case .done: state.jobs[place].done += 1
                case .unchanged, .notFound: state.jobs[place].skipped += 1
                case .inFlight, .held, .failed:
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
        case .failed(let text): text
        case .done, .unchanged, .notFound: nil
        }
    }
}
