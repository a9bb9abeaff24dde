// SpoolThread.swift — a thread that may block for as long as a disk takes, which Swift's library lacks.

import Glibc

/// A thread of our own, for work that blocks.
package struct SpoolThread: Sendable {
    private let handle: pthread_t

    /// Starts a thread.
    ///
    /// - Returns: nil when the system has no more threads to give.
    package init?(_ body: @escaping @Sendable () -> Void) {
        let work = Unmanaged.passRetained(Work(body))
        var handle = pthread_t()
        let code = pthread_create(
            &handle,
            nil,
            { raw in
                guard let raw else { return nil }
                let work = Unmanaged<Work>.fromOpaque(raw).takeRetainedValue()
                work.body()
                return nil
            },
            work.toOpaque()
        )
        guard code == 0 else {
            work.release()
            return nil
        }
        self.handle = handle
    }

    /// Waits until the thread has ended.
    ///
    /// Once only.
    package func join() { pthread_join(handle, nil) }

    private final class Work: Sendable {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
