// ReportTray.swift — reports that were written and wait for the note of what they tell, to be durable with it.
//
// Guarantees: what lies in a tray is either handed to the store with its note, or its memory and files are given back; whoever
// waits for it hears of the end once.

import Mail
import NIOCore
import NIOPosix
import Storage
import Synchronization

/// Reports about one message, between the pen and the queue.
package final class ReportTray: Sendable {
    private struct State {
        var waiting: [Arrival] = []
        /// Handed to the store, and not answered.
        var open = 0
        var isOver = false
        var waiter: CheckedContinuation<Void, Never>?

        /// - Returns: who waits for it.
        mutating func end() -> CheckedContinuation<Void, Never>? {
            defer { waiter = nil }
            isOver = true
            return waiter
        }
    }

    private let state = Mutex(State())

    package init() {}

    /// Lays messages in that were accepted, but for the disk.
    func put(_ messages: [NewMessage], _ entrance: Entrance, _ loop: any EventLoop) {
        state.withLock { state in
            for message in messages {
                state.waiting.append(
                    Arrival(message: message, entrance: entrance, loop: loop, done: { [self] _ in answered() })
                )
            }
        }
    }

    /// Takes everything out, for the store; each one's end is to be told.
    func take() -> [Arrival] {
        state.withLock { state in
            defer { state.waiting = [] }
            state.open += state.waiting.count
            return state.waiting
        }
    }

    private func answered() {
        let waiter = state.withLock { state in
            state.open -= 1
            return state.open == 0 ? state.end() : nil
        }
        waiter?.resume()
    }

    /// Nothing more comes: what was not taken is thrown away.
    ///
    /// - Returns: what that was.
    func close() -> [NewMessage] {
        let (left, waiter) = state.withLock { state in
            defer { state.waiting = [] }
            return (state.waiting.map(\.message), state.open == 0 ? state.end() : nil)
        }
        waiter?.resume()
        return left
    }

    /// Returns when what was taken is durable, or is not going to be.
    package func finished() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                if !state.isOver { state.waiter = continuation }
                return state.isOver
            }
            if isOver { continuation.resume() }
        }
    }
}

extension MailQueue {
    /// For the reports about a message; nil where each is durable by itself, before its note is made.
    package func makeReportTray() -> ReportTray? { store.joinsNotes ? ReportTray() : nil }

    /// Has the store note something of a message, with the reports about it.
    ///
    /// Called with the lock held.
    func append(
        _ note: JointNote.Note,
        of id: QueueID,
        _ facts: Facts,
        with tray: ReportTray?,
        in state: inout QueueState
    ) {
        let arrivals = tray?.take() ?? []
        guard arrivals.isEmpty else {
            for arrival in arrivals { state.arriving[arrival.message.id] = arrival }
            return store.append(JointNote(arrivals.map(\.message), note, of: id, facts))
        }
        switch note {
        case .state(let new): store.append(new, of: id, facts)
        case .end(let location): store.appendSettled(id, at: location, facts)
        }
    }

    /// Gives back what reports hold that no note took with it: the message is another's, or nothing was noted.
    func discard(_ tray: ReportTray?) {
        guard let left = tray?.close(), !left.isEmpty else { return }
        memory.release(left.reduce(0) { $0 + $1.residentBytes })
        for case .file(let file) in left.map(\.content.body) { disk.submit { _ in file.discard() } }
    }
}
