// Doorbell.swift — what threads that wait for disks need and Swift's library lacks: a bell that wakes them.

import Glibc

/// Wakes a thread that waits; rings that come before the wait are not lost.
///
/// Time limits run on the monotonic clock, which a semaphore's do not. `@unchecked Sendable`: the mutex and the condition
/// are made for calls from any thread, the count is touched under the mutex only, and their memory stays put until the end.
package final class Doorbell: @unchecked Sendable {
    private struct Parts {
        var mutex = pthread_mutex_t()
        var condition = pthread_cond_t()
        var rings = 0
    }

    private let parts: UnsafeMutablePointer<Parts>

    /// Nobody waits and nobody has rung.
    package init() {
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

    /// Wakes one that waits, now or later.
    package func ring() {
        pthread_mutex_lock(&parts.pointee.mutex)
        parts.pointee.rings += 1
        pthread_mutex_unlock(&parts.pointee.mutex)
        pthread_cond_signal(&parts.pointee.condition)
    }

    /// Waits for a ring.
    package func wait() {
        pthread_mutex_lock(&parts.pointee.mutex)
        while parts.pointee.rings == 0 { pthread_cond_wait(&parts.pointee.condition, &parts.pointee.mutex) }
        parts.pointee.rings -= 1
        pthread_mutex_unlock(&parts.pointee.mutex)
    }

    /// Waits for a ring, or so many nanoseconds, whichever is first.
    package func wait(atMost nanoseconds: Int) {
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
