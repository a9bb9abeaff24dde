// ProcessHeap.swift — what the allocator of this process can be told about giving memory back to the system.

import CProcess

/// The allocator of this process: glibc's malloc.
package enum ProcessHeap {
    /// Lets blocks of this many bytes and more go back to the system as soon as they are freed.
    ///
    /// Left alone, glibc keeps blocks of a size as soon as one of that size was freed.
    package static func returnLargeBlocks(from bytes: Int) {
        martlet_heap_return_large_blocks(Int32(clamping: bytes))
    }

    /// Gives back what is unused now; some milliseconds of work for each hundred megabytes.
    package static func trim() { martlet_heap_trim() }
}
