// EventNews.swift — wakes those who wait for the next event: threads that wait, and listeners that are called.

import Glibc
import Synchronization

/// Tells that events were added.
///
/// `@unchecked Sendable`: mutex and condition are made for calls from any thread, the count is touched under the mutex only,
/// and their memory stays put until the end.
final class EventNews: @unchecked Sendable {
    private struct Parts {
        var mutex = pthread_mutex_t()
        var condition = pthread_cond_t()
        /// How often it was told.
        var count: UInt64 = 0
    }

    private let parts: UnsafeMutablePointer<Parts>
    private let listeners = Mutex<[UInt64: @Sendable () -> Void]>([:])
    private let lastListener = Mutex<UInt64>(0)

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

    func tell() {
        pthread_mutex_lock(&parts.pointee.mutex)
        parts.pointee.count &+= 1
        pthread_cond_broadcast(&parts.pointee.condition)
        pthread_mutex_unlock(&parts.pointee.mutex)
        for listener in listeners.withLock({ Array($0.values) }) { listener() }
    }

    func listen(_ body: @escaping @Sendable () -> Void) -> NewsToken {
        let number = lastListener.withLock { last in
            last += 1
            return last
        }
        listeners.withLock { $0[number] = body }
        return NewsToken { [weak self] in self?.listeners.withLock { _ = $0.removeValue(forKey: number) } }
    }

    /// Waits until `isThere` is true, which ``tell()`` has asked again, or so many milliseconds.
    func wait(atMost milliseconds: Int, _ isThere: () -> Bool) -> Bool {
        var end = timespec()
        clock_gettime(CLOCK_MONOTONIC, &end)
        let sum = end.tv_nsec + max(0, min(milliseconds, 3_600_000)) * 1_000_000
        end = timespec(tv_sec: end.tv_sec + sum / 1_000_000_000, tv_nsec: sum % 1_000_000_000)
        pthread_mutex_lock(&parts.pointee.mutex)
        defer { pthread_mutex_unlock(&parts.pointee.mutex) }
        while !isThere() {
            guard pthread_cond_timedwait(&parts.pointee.condition, &parts.pointee.mutex, &end) == 0 else {
                return isThere()
            }
        }
        return true
    }
}
