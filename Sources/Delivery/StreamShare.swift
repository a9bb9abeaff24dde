// StreamShare.swift — what one message takes of the memory for mail while it goes out in pieces, from the disk or through a
// conversion.
//
// Guarantees: it is counted in the one budget of all sessions, reception included; where that is used up a message goes out in
// pieces so small that all sessions together need little, because what goes out is what makes room; it is given back when
// nobody holds it any more, whatever became of the session.

import Queue

/// A session's part of the budget, from the first piece of a message to its last.
final class StreamShare: Sendable {
    /// Bytes that are read at once where memory is short.
    static let smallest = 8 << 10

    /// Bytes that are read at once.
    let piece: Int
    private let bytes: Int
    private let budget: MemoryBudget?

    /// - Parameters:
    ///   - budget: nil: nobody counts.
    ///   - piece: bytes that one read should have.
    ///   - copies: what is in memory at once, in pieces.
    init(of budget: MemoryBudget?, piece: Int, copies: Int) {
        self.budget = budget
        let hasRoom = budget?.reserve(piece * copies) ?? true
        self.piece = hasRoom ? piece : min(piece, Self.smallest)
        bytes = self.piece * copies
        if !hasRoom { budget?.force(bytes) }
    }

    deinit { budget?.release(bytes) }
}
