// Dispatcher.swift — work to sessions, sessions to lanes. Everything happens on one event loop.
//
// A ready session pulls its next parcel by itself; the dispatcher only wakes those that idle, opens one more where the
// scheduler wants it, and sees that every claimed session slot and every attempt is given back.

package import Config
package import Departure
package import Log
package import Loop
import Mail
package import NIOCore
package import Queue
import Synchronization

/// The door through which mail leaves.
package final class Dispatcher: Sendable {
    private let loop: any EventLoop
    private let queue: MailQueue
    private let floor: NIOLoopBoundBox<Floor?>
    /// A wake is on its way to the loop.
    private let isWoken = Atomic<Bool>(false)
    private let router: Router
    private let trust: TrustFinder
    private let settler: Settler
    private let settings: InForce<Settings>
    private let log: LogSink

    /// - Parameters:
    ///   - loop: where all sessions live.
    ///   - queue: where work comes from.
    ///   - router: finds hosts.
    ///   - trust: knows how well they must be protected.
    ///   - settler: takes outcomes.
    ///   - settings: those in force.
    ///   - log: for what happens to lanes.
    package init(
        loop: any EventLoop,
        queue: MailQueue,
        router: Router,
        trust: TrustFinder,
        settler: Settler,
        settings: InForce<Settings>,
        log: LogSink
    ) {
        self.loop = loop
        self.queue = queue
        self.router = router
        self.trust = trust
        self.settler = settler
        self.settings = settings
        self.log = log
        floor = NIOLoopBoundBox.makeEmptyBox(valueType: Floor.self, eventLoop: loop)
    }

    /// Begins to deliver.
    package func start() {
        loop.execute { [self] in
            floor.value = Floor(
                loop: loop,
                queue: queue,
                router: router,
                trust: trust,
                settler: settler,
                settings: settings,
                log: log,
                wake: { [weak self] in self?.wake() }
            )
            wake()
        }
        queue.setWake { [weak self] in self?.wake() }
        settler.onChange { [weak self] in self?.wake() }
    }

    /// Looks for work soon; many calls make one look.
    private func wake() {
        if isWoken.exchange(true, ordering: .acquiringAndReleasing) { return }
        loop.execute { [self] in
            isWoken.store(false, ordering: .releasing)
            floor.value?.look()
        }
    }

    /// The route table changed: sessions with hosts that are no longer in it end when what is running is done.
    package func routesChanged() { loop.execute { [self] in floor.value?.leaveOldHosts() } }

    /// Stops: sessions finish the message whose dot was sent, nothing else is begun.
    ///
    /// - Parameter milliseconds: how long the peers may take; what is open then is cut, and delivered again after the
    ///   next start.
    package func drain(within milliseconds: Int64) async {
        let done = loop.makePromise(of: Void.self)
        loop.execute { [self] in
            guard let floor = floor.value else { return done.succeed(()) }
            floor.drain(within: milliseconds, done)
        }
        try? await done.futureResult.get()
        await settler.finish(within: milliseconds)
    }
}
