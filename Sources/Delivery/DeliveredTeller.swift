// DeliveredTeller.swift — tells plugins of deliveries, in the background: no session and no settlement waits for them.

import Hooks
import Log
import Mail
import Synchronization

/// The `delivered` hook's line.
final class DeliveredTeller: Sendable {
    private struct News: Sendable {
        let mail: HMail
        let notice: DeliveredNotice
    }

    private struct State {
        var waiting: [News] = []
        /// Entries of `waiting` that were told already.
        var told = 0
        var running = 0
        var lost = 0
    }

    /// Calls at once.
    private static let mostRunning = 16
    /// Notices that may wait; the answer has no effect, so more are dropped rather than kept.
    private static let mostWaiting = 10_000

    private let plugins: PluginChain
    private let log: LogSink
    private let state = Mutex(State())

    init(_ plugins: PluginChain, log: LogSink) {
        self.plugins = plugins
        self.log = log
    }

    /// Tells soon.
    func tell(_ mail: HMail, _ notice: DeliveredNotice) {
        let (starts, isFirstLost) = state.withLock { state in
            guard state.waiting.count - state.told < Self.mostWaiting else {
                state.lost += 1
                return (false, state.lost == 1)
            }
            state.waiting.append(News(mail: mail, notice: notice))
            guard state.running < Self.mostRunning else { return (false, false) }
            state.running += 1
            return (true, false)
        }
        if starts { Task { await work() } }
        if isFirstLost { log.write(.warning, "plugins are too slow, deliveries are not told") }
    }

    private func work() async {
        while let news = next() { await plugins.delivered(news.mail, news.notice) }
    }

    private func next() -> News? {
        let (news, lost): (News?, Int) = state.withLock { state in
            if state.told < state.waiting.count {
                state.told += 1
                let news = state.waiting[state.told - 1]
                if state.told == state.waiting.count || state.told >= 1000 {
                    state.waiting.removeFirst(state.told)
                    state.told = 0
                }
                return (news, 0)
            }
            state.running -= 1
            defer { state.lost = 0 }
            return (nil, state.lost)
        }
        if lost > 0 { log.write(.warning, "deliveries were not told to plugins") { $0.add(.count, lost) } }
        return news
    }
}
