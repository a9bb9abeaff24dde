// Deadline.swift — a time limit of one connection that is cheap to move.
//
// A connection moves its limit with every command and every block of a message. Moving only writes a number: the timer
// underneath sleeps for at most ten seconds, looks at the number when it wakes, and sleeps again.

package import NIOCore

/// Calls a closure once when a point in time has passed without having been moved.
///
/// Bound to its event loop: made, moved and fired there, never elsewhere. While a timer sleeps the loop holds this
/// object and with it the closure, so whoever is captured lives up to ten seconds longer unless ``cancel()`` is called.
package final class Deadline {
    /// Longest sleep of the timer underneath.
    private static let longestNap = TimeAmount.seconds(10)

    private let loop: any EventLoop
    private let fired: () -> Void
    private var due = NIODeadline.distantFuture
    /// When the timer wakes; `distantFuture` when none sleeps.
    private var wakes = NIODeadline.distantFuture
    private var timer: NIOScheduledCallback?

    /// - Parameters:
    ///   - loop: the event loop of the connection, on which this is called.
    ///   - fired: called on the loop; the deadline is clear by then and may be set again.
    package init(loop: any EventLoop, fired: @escaping () -> Void) {
        self.loop = loop
        self.fired = fired
    }

    /// Fires after this many milliseconds from now, in place of whatever was set before.
    package func set(after milliseconds: Int64) {
        let now = loop.now
        set(at: now + .milliseconds(milliseconds), now: now)
    }

    /// Fires at this time, in place of whatever was set before.
    ///
    /// - Parameters:
    ///   - time: `distantFuture` clears.
    ///   - now: the loop's time, where the caller has read it already.
    package func set(at time: NIODeadline, now: NIODeadline) {
        due = time
        // A timer that wakes too early is harmless; only one that would oversleep is replaced.
        if time < wakes { arm(now: now) }
    }

    /// Forgets what was set.
    package func clear() { due = .distantFuture }

    /// Forgets what was set and stops the timer: the connection is over.
    package func cancel() {
        due = .distantFuture
        wakes = .distantFuture
        timer?.cancel()
        timer = nil
    }

    private func arm(now: NIODeadline) {
        let nap = min(due, now + Self.longestNap)
        guard nap < wakes else { return }
        timer?.cancel()
        wakes = nap
        timer = try? loop.assumeIsolated().scheduleCallback(at: nap, handler: Alarm(deadline: self))
        // A loop that takes no timers is shutting down, and its connections with it.
        if timer == nil { wakes = .distantFuture }
    }

    fileprivate func wake() {
        timer = nil
        wakes = .distantFuture
        guard due != .distantFuture else { return }
        let now = loop.now
        if due <= now {
            due = .distantFuture
            fired()
        } else {
            arm(now: now)
        }
    }
}

/// What the loop holds while the timer sleeps.
private struct Alarm: NIOScheduledCallbackHandler {
    let deadline: Deadline

    func handleScheduledCallback(eventLoop: some EventLoop) { deadline.wake() }
}
