// AwaitingSegments.swift — segments without live mail that somebody still has to read. A pure value.

/// A line of segments, oldest first, that wait for the follower of the log.
struct AwaitingSegments: Sendable {
    private var line: [SpoolLedger.Segment] = []
    private(set) var bytes = 0

    var isEmpty: Bool { line.isEmpty }

    mutating func add(_ segments: [SpoolLedger.Segment]) {
        line += segments
        bytes += segments.reduce(0) { $0 + $1.size }
    }

    /// Takes the oldest one out, when it was read or the line has grown too long.
    ///
    /// - Parameter limit: bytes of all that may wait.
    mutating func take(atMost limit: Int, _ isPast: (UInt32) -> Bool) -> SpoolLedger.Segment? {
        guard let first = line.first, bytes > limit || isPast(first.sequence) else { return nil }
        bytes -= first.size
        return line.removeFirst()
    }
}
