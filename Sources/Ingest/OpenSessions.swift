// OpenSessions.swift — the channels that are open, so that shutting down can speak to them.

import NIOCore
import Synchronization

/// What a session is told by way of its channel's pipeline.
enum Shutdown: Sendable {
    /// End now if no transaction is open, else behind it.
    case drain
    /// End now.
    case stop
}

/// Every open channel.
///
/// Safe from any thread.
final class OpenSessions: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var told: Shutdown?
        var emptied: EventLoopPromise<Void>?
    }

    private let state = Mutex(State())

    /// Files a channel.
    ///
    /// - Returns: what had been told to everybody before it came; it must hear that too.
    func add(_ channel: any Channel) -> Shutdown? {
        state.withLock { state in
            state.channels[ObjectIdentifier(channel)] = channel
            return state.told
        }
    }

    func remove(_ channel: any Channel) {
        let emptied = state.withLock { state -> EventLoopPromise<Void>? in
            state.channels[ObjectIdentifier(channel)] = nil
            guard state.channels.isEmpty else { return nil }
            defer { state.emptied = nil }
            return state.emptied
        }
        emptied?.succeed(())
    }

    /// Tells every session, those that are still to come included.
    func tell(_ what: Shutdown) {
        let channels = state.withLock { state in
            state.told = what
            return Array(state.channels.values)
        }
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(what) }
    }

    /// Closes every channel, whatever it is doing.
    func closeAll() {
        for channel in state.withLock({ Array($0.channels.values) }) { channel.close(promise: nil) }
    }

    /// Completes when no session is open.
    func whenEmpty(on loop: any EventLoop) -> EventLoopFuture<Void> {
        let promise = loop.makePromise(of: Void.self)
        let isEmpty = state.withLock { state in
            if state.channels.isEmpty { return true }
            state.emptied?.futureResult.cascade(to: promise)
            if state.emptied == nil { state.emptied = promise }
            return false
        }
        if isEmpty { promise.succeed(()) }
        return promise.futureResult
    }

    var count: Int { state.withLock { $0.channels.count } }
}
