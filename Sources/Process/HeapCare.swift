// HeapCare.swift — gives memory back to the system that the allocator keeps after a busy time.
//
// glibc returns what lies at the end of its heaps only; what many small buffers of mail leave between long-lived entries
// of the queue stays with the process until somebody asks for it.

/// Watches for calm after a storm.
///
/// Used by the main thread alone.
package final class HeapCare {
    private var events = 0
    /// True from the start: recovery leaves much behind.
    private var isDirty = true

    /// Large blocks go back to the system at once from now on: without this, one that is freed makes glibc keep blocks
    /// of its size.
    package init() { ProcessHeap.returnLargeBlocks(from: 1 << 20) }

    /// Call it once a second.
    ///
    /// - Parameter events: grows with everything that happens to mail.
    package func look(_ events: Int) {
        if events != self.events {
            self.events = events
            isDirty = true
        } else if isDirty {
            isDirty = false
            ProcessHeap.trim()
        }
    }
}
