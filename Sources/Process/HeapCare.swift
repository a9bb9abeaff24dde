// HeapCare.swift — gives memory back to the system that the allocator keeps after a busy time.
//
// glibc returns what lies at the end of its heaps only; what many small buffers of mail leave between long-lived entries
// of the queue stays with the process until somebody asks for it.

/// Watches for calm after a storm, and now and then in the middle of a long one: where mail that waits is tried all the time there
/// is no calm.
///
/// Used by the main thread alone.
package final class HeapCare {
    /// Seconds of a storm after which it is time: what is given back costs some milliseconds to ask for again.
    private static let longest = 60

    private var events = 0
    /// True from the start: recovery leaves much behind.
    private var isDirty = true
    /// Seconds since the last time in which something happened.
    private var busy = 0
    private let trim: () -> Void

    /// Large blocks go back to the system at once from now on: without this, one that is freed makes glibc keep blocks
    /// of its size.
    ///
    /// - Parameter trim: gives back what can be.
    package init(trim: @escaping () -> Void = ProcessHeap.trim) {
        self.trim = trim
        ProcessHeap.returnLargeBlocks(from: 1 << 20)
    }

    /// Call it once a second.
    ///
    /// - Parameter events: grows with everything that happens to mail.
    package func look(_ events: Int) {
        if events != self.events {
            self.events = events
            isDirty = true
            busy += 1
            if busy < Self.longest { return }
        } else if isDirty {
            isDirty = false
        } else {
            return
        }
        busy = 0
        trim()
    }
}
