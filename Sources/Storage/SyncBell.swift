// SyncBell.swift — whoever waits until what was appended is on the disk hears whether it is.

import Files
import Synchronization

/// Rings once, when everything before it is durable or cannot be.
final class SyncBell: Sendable {
    private let bell = Doorbell()
    private let isDurable = Atomic<Bool>(false)

    /// - Parameter isDurable: whether all of it is; false where some waits for a disk that works again.
    func ring(_ isDurable: Bool) {
        self.isDurable.store(isDurable, ordering: .releasing)
        bell.ring()
    }

    /// Blocks.
    ///
    /// - Returns: whether everything before it is durable.
    func wait() -> Bool {
        bell.wait()
        return isDurable.load(ordering: .acquiring)
    }
}
