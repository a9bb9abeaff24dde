// Eventually.swift — waiting for what happens on other threads.

import Glibc
import Mail

/// Waits until something holds, ten minutes at most; polls, because it happens on other threads.
package func eventually(_ condition: () -> Bool) async -> Bool {
    let end = Uptime.now().adding(milliseconds: 600_000)
    while Uptime.now() < end {
        if condition() { return true }
        // Leaves the processors to those that are waited for.
        _ = poll(nil, 0, 2)
        await Task.yield()
    }
    return condition()
}
