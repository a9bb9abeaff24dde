// HookCall.swift — one call of a plugin with a deadline: whichever comes first, answer or deadline, ends the wait.
//
// A plugin that never returns keeps its own task and nothing else: who asked goes on when the deadline has passed.

import Synchronization

/// A call that is answered exactly once.
final class HookCall<Answer: Sendable>: Sendable {
    private struct State {
        var waiter: CheckedContinuation<Answer?, Never>?
        var tasks: [Task<Void, Never>] = []
    }

    private let state: Mutex<State>

    private init(_ waiter: CheckedContinuation<Answer?, Never>) { state = Mutex(State(waiter: waiter)) }

    /// Calls and waits.
    ///
    /// - Parameters:
    ///   - limit: how long to wait.
    ///   - sleep: returns after so long, or when its task is cancelled.
    /// - Returns: nil when the deadline passed; what the call answers later is ignored, and its task is cancelled.
    static func run(
        within limit: Duration,
        sleep: @escaping @Sendable (Duration) async -> Void,
        _ body: @escaping @Sendable () async -> Answer
    ) async -> Answer? {
        await withCheckedContinuation { waiter in
            let call = HookCall(waiter)
            let work = Task { call.end(await body()) }
            let timer = Task {
                await sleep(limit)
                call.end(nil)
            }
            call.watch([work, timer])
        }
    }

    private func watch(_ tasks: [Task<Void, Never>]) {
        let isOver = state.withLock { state in
            if state.waiter != nil { state.tasks = tasks }
            return state.waiter == nil
        }
        if isOver { for task in tasks { task.cancel() } }
    }

    private func end(_ answer: Answer?) {
        let (waiter, tasks) = state.withLock { state in
            defer {
                state.waiter = nil
                state.tasks = []
            }
            return (state.waiter, state.tasks)
        }
        guard let waiter else { return }
        for task in tasks { task.cancel() }
        waiter.resume(returning: answer)
    }
}
