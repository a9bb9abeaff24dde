// SharedThread.swift — a thread that works in turns until it is told to stop, and rests between them unless a bell rings.

import Files
import Synchronization

/// One of the threads that look after a shared queue.
final class SharedThread: Sendable {
    private let thread = Mutex<SpoolThread?>(nil)
    private let stopping = Atomic<Bool>(false)
    private let bell = Doorbell()

    /// The work has to end.
    var isStopping: Bool { stopping.load(ordering: .relaxed) }

    /// Begins.
    ///
    /// - Returns: false when there is no thread to be had.
    func start(_ work: @escaping @Sendable () -> Void) -> Bool {
        thread.withLock { thread in
            thread = SpoolThread(work)
            return thread != nil
        }
    }

    /// Waits in the thread itself, until the time is over or somebody stops it.
    func rest(milliseconds: Int) { bell.wait(atMost: milliseconds * 1_000_000) }

    /// Ends the work, and waits until it has ended.
    func stop() {
        stopping.store(true, ordering: .relaxed)
        bell.ring()
        thread.withLock { thread in
            thread?.join()
            thread = nil
        }
    }
}
