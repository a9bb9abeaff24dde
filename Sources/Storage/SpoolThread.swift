// SpoolThread.swift — the two primitives the spool needs and Swift's library lacks: a thread that may block for as long
// as a disk takes, and a bell that wakes it.

import Glibc

/// Wakes a thread that waits; rings that come before the wait are not lost.
///
/// Time limits run on the monotonic clock, which a semaphore's do not. `@unchecked Sendable`: the mutex and the condition
/// are made for calls from any thread, the count is touched under the mutex only, and their memory stays put until the end.
final class Doorbell: @unchecked Sendable {
    private struct Parts {
        var mutex = pthread_mutex_t()
        var condition = pthread_cond_t()
        var rings = 0
    }

    private let parts: UnsafeMutablePointer<Parts>

    init() {
        parts = .allocate(capacity: 1)
        parts.initialize(to: Parts())
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_mutex_init(&parts.pointee.mutex, nil)
        pthread_cond_init(&parts.pointee.condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(&parts.pointee.condition)
        pthread_mutex_destroy(&parts.pointee.mutex)
        parts.deallocate()
    }

    func ring() {
        pthread_mutex_lock(&parts.pointee.mutex)
        parts.pointee.rings += 1
        pthread_mutex_unlock(&parts.pointee.mutex)
        pthread_cond_signal(&parts.pointee.condition)
    }

    func wait() {
        pthread_mutex_lock(&parts.pointee.mutex)
        while parts.pointee.rings == 0 { pthread_cond_wait(&parts.pointee.condition, &parts.pointee.mutex) }
        parts.pointee.rings -= 1
        pthread_mutex_unlock(&parts.pointee.mutex)
    }

    /// Waits for a ring, or so many nanoseconds, whichever is first.
    func wait(atMost nanoseconds: Int) {
        var end = timespec()
        clock_gettime(CLOCK_MONOTONIC, &end)
        let sum = end.tv_nsec + nanoseconds
        end = timespec(tv_sec: end.tv_sec + sum / 1_000_000_000, tv_nsec: sum % 1_000_000_000)
        pthread_mutex_lock(&parts.pointee.mutex)
        while parts.pointee.rings == 0 {
            guard pthread_cond_timedwait(&parts.pointee.condition, &parts.pointee.mutex, &end) == 0 else { break }
        }
        parts.pointee.rings = max(0, parts.pointee.rings - 1)
        pthread_mutex_unlock(&parts.pointee.mutex)
    }
}

/// A thread of our own, for work that blocks.
struct SpoolThread: Sendable {
    private let handle: pthread_t

    /// Starts a thread.
    ///
    /// - Returns: nil when the system has no more threads to give.
    init?(_ body: @escaping @Sendable () -> Void) {
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
    func join() { pthread_join(handle, nil) }

    private final class Work: Sendable {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
