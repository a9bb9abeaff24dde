// SlotClaim.swift — the session slot of one opening: asked for when it is known where to go, given back while it is not.
//
// Guarantees: no slot is held while names, policies or tokens are asked for; each look-up and each slot is given back to
// the queue exactly once, by ``SlotClaim/end()`` or because a session stands.

import Mail
import NIOCore
import Queue
import Synchronization

/// One opening, as far as the scheduler counts it.
final class SlotClaim: Sendable {
    private enum State {
        /// It finds out where to go, unless it was asked to end. → poised, over
        case lookingUp(isCut: Bool)
        /// It waits for a slot. → granted, over
        case poised(EventLoopPromise<Void>)
        /// It connects; what is to be done when others want the slot. → lookingUp, over
        case granted(Opening, [@Sendable () -> Void], hasGivenWay: Bool)
        case over
    }

    /// Where openings wait in line for their slots.
    struct Line: Sendable {
        /// It knows where to go; called on the loop.
        let join: @Sendable (SlotClaim) -> Void
        /// The slot is given back; called on the loop.
        let leave: @Sendable (Opening) -> Void
        /// It looks for its way no longer; called on the loop.
        let forget: @Sendable (SlotClaim) -> Void
    }

    let lane: Lane
    /// It has mail that an earlier host did not take.
    let isCarrying: Bool
    /// The number of its look-up; nil: nobody asks it to end.
    let lookUp: UInt64?
    private let queue: MailQueue
    private let loop: any EventLoop
    private let line: Line
    private let state = Mutex(State.lookingUp(isCut: false))
    private let work = Mutex<Task<Void, Never>?>(nil)

    /// Of an opening that was granted a look-up.
    init(_ lane: Lane, isCarrying: Bool = false, lookUp: UInt64?, queue: MailQueue, loop: any EventLoop, line: Line) {
        self.lane = lane
        self.isCarrying = isCarrying
        self.lookUp = lookUp
        self.queue = queue
        self.loop = loop
        self.line = line
    }

    /// The slot that it holds.
    var opening: Opening? { state.withLock { if case .granted(let opening, _, _) = $0 { opening } else { nil } } }

    /// It has ended.
    var isOver: Bool { state.withLock { if case .over = $0 { true } else { false } } }

    /// The hosts that its lane leads to are known, in the order of preference.
    func leads(to hosts: [MX]) { queue.know(hosts: hosts.map(\.hostName), of: lane) }

    /// Returns when a slot is claimed.
    ///
    /// - Throws: when the relay stops meanwhile, or the look-up was asked to end.
    func take() async throws(Failure) {
        let slot = loop.makePromise(of: Void.self)
        let isCut = state.withLock { state in
            if case .lookingUp(isCut: true) = state { return true }
            state = .poised(slot)
            return false
        }
        guard !isCut else {
            slot.succeed()
            throw Failure(.host, at: .route, Reply(451, EnhancedStatus(4, 4, 3), "other lanes are looked up first"))
        }
        loop.execute { [self] in
            line.join(self)
            queue.lookedUp(lane, lookUp)
        }
        do {
            try await slot.futureResult.get()
        } catch {
            throw Failure(.host, at: .route, Reply(451, EnhancedStatus(4, 3, 2), "the relay stops"))
        }
    }

    /// The slot is there.
    func grant(_ opening: Opening) {
        let slot: EventLoopPromise<Void>? = state.withLock { state in
            guard case .poised(let slot) = state else { return nil }
            state = .granted(opening, [], hasGivenWay: false)
            return slot
        }
        guard let slot else { return queue.openingEnded(opening, looksOn: false) }
        slot.succeed()
    }

    // MARK: giving way

    /// What finds out where to go.
    func runs(_ task: Task<Void, Never>) { work.withLock { $0 = task } }

    /// Others want the place of its look-up, which has taken long: it ends, and nothing failed.
    func endLookUp() {
        let isLookingUp = state.withLock { state in
            guard case .lookingUp = state else { return false }
            state = .lookingUp(isCut: true)
            return true
        }
        if isLookingUp { work.withLock(\.self)?.cancel() }
    }

    /// Its look-up was asked to end, and found nothing.
    var isCut: Bool { state.withLock { if case .lookingUp(isCut: true) = $0 { true } else { false } } }

    /// Others want the slot: the host that is being tried has been silent for too long.
    func giveWay(_ opening: Opening) {
        let actions: [@Sendable () -> Void] = state.withLock { state in
            guard case .granted(opening, let actions, _) = state else { return [] }
            state = .granted(opening, [], hasGivenWay: true)
            return actions
        }
        for action in actions { action() }
    }

    /// The host that is being tried was given up because others wanted the slot.
    var hasGivenWay: Bool { state.withLock { if case .granted(_, _, true) = $0 { true } else { false } } }

    /// What ends the connection that is being opened.
    func whenGivingWay(_ action: @escaping @Sendable () -> Void) {
        let isLate = state.withLock { state in
            guard case .granted(let opening, let actions, let hasGivenWay) = state else { return false }
            state = .granted(opening, actions + [action], hasGivenWay: hasGivenWay)
            return hasGivenWay
        }
        if isLate { action() }
    }

    // MARK: ends

    /// The host was tried in vain; the next one is looked up.
    func giveBack() {
        let opening: Opening? = state.withLock { state in
            guard case .granted(let opening, _, _) = state else { return nil }
            state = .lookingUp(isCut: false)
            return opening
        }
        if let opening { end(opening, looksOn: true) }
    }

    /// A session stands: the slot is its own.
    func stands() { state.withLock { $0 = .over } }

    /// No session stands.
    func end() {
        let old = state.withLock { state in
            defer { state = .over }
            return state
        }
        switch old {
        case .lookingUp:
            if lookUp != nil { loop.execute { [self] in line.forget(self) } }
            queue.lookUpEnded(lane, lookUp, isPoised: false)
        case .poised(let slot):
            queue.lookUpEnded(lane, nil, isPoised: true)
            slot.fail(CancellationError())
        case .granted(let opening, _, _): end(opening, looksOn: false)
        case .over: break
        }
    }

    private func end(_ opening: Opening, looksOn: Bool) {
        loop.execute { [line] in line.leave(opening) }
        queue.openingEnded(opening, looksOn: looksOn)
    }
}
