// EntrySizeTests.swift — what a waiting message costs in the index: a million of them are the memory of a queue.

import Mail
import Testing

@testable import Queue

@Suite struct EntrySizeTests {
    @Test func entriesAreAsSmallAsTheirCommentsSay() {
        #expect(MemoryLayout<TicketState>.stride == 24)
        #expect(MemoryLayout<ParcelEntry>.stride == 28)
        #expect(MemoryLayout<MessageEntry?>.stride == 56)
        #expect(MemoryLayout<Ticket>.size == 4 && MemoryLayout<Slot>.size == 4 && MemoryLayout<LaneNumber>.size == 4)
    }
}
