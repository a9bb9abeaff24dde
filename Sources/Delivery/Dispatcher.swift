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
    /// What delivery is made of.
    package struct Parts: Sendable {
        /// Where all sessions live.
        package let loop: any EventLoop
        /// Where work comes from.
        package let queue: MailQueue
        /// Finds hosts.
        package let router: Router
        /// Knows how well they must be protected.
        package let trust: TrustFinder
        /// Takes outcomes.
        package let settler: Settler
        /// Those in force.
        package let settings: InForce<Settings>
        /// For what happens to lanes.
        package let log: LogSink
        /// Posts mail to hosts that take it over HTTPS; nil: nobody does.
        package let office: PostOffice?

        package init(
            loop: any EventLoop,
            queue: MailQueue,
            router: Router,
            trust: TrustFinder,
            settler: Settler,
            settings: InForce<Settings>,
            log: LogSink,
            office: PostOffice? = nil
        ) {
            self.loop = loop
            self.queue = queue
            self.router = router
            self.trust = trust
            self.settler = settler
            self.settings = settings
            self.log = log
            self.office = office
        }
    }

    private let parts: Parts
    private let floor: NIOLoopBoundBox<Floor?>
    /// A wake is on its way to the loop.
    private let isWoken = Atomic<Bool>(false)

    package init(_ parts: Parts) {
        self.parts = parts
        floor = NIOLoopBoundBox.makeEmptyBox(valueType: Floor.self, eventLoop: parts.loop)
    }

    /// Begins to deliver.
    package func start() {
        parts.loop.execute { [self] in
            floor.value = Floor(parts) { [weak self] in self?.wake() }
            wake()
        }
        parts.queue.setWake { [weak self] in self?.wake() }
        parts.settler.onChange { [weak self] in self?.wake() }
    }

    /// Looks for work soon; many calls make one look.
    private func wake() {
        if isWoken.exchange(true, ordering: .acquiringAndReleasing) { return }
        parts.loop.execute { [self] in
            isWoken.store(false, ordering: .releasing)
            floor.value?.look()
        }
    }

    /// The route table changed: sessions with hosts that are no longer in it end when what is running is done.
    package func routesChanged() { parts.loop.execute { [self] in floor.value?.leaveOldHosts() } }

    /// Stops: sessions finish the message whose dot was sent, nothing else is begun.
    ///
    /// - Parameter milliseconds: how long the peers may take; what is open then is cut, and delivered again after the
    ///   next start.
    package func drain(within milliseconds: Int64) async {
        let done = parts.loop.makePromise(of: Void.self)
        parts.loop.execute { [self] in
            guard let floor = floor.value else { return done.succeed(()) }
            floor.drain(within: milliseconds, done)
        }
        try? await done.futureResult.get()
        await parts.settler.finish(within: milliseconds)
    }
}
