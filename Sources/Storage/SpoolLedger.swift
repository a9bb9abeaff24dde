// SpoolLedger.swift — which records of which segment are live: what may be recycled, what should be emptied. A pure value.
//
// Segments form a queue: one is given back only when every older one is gone. A settled or attempt record is always newer
// than the message it speaks of, so it can never disappear before that message: nothing settled comes back to life.

struct SpoolLedger: Sendable {
    struct Segment: Sendable {
        let sequence: UInt32
        /// Bytes of the file.
        let size: Int
        /// Offsets of the live message records.
        var live: Set<UInt32> = []
        /// Bytes of the live message records.
        var liveBytes = 0
        /// Nothing more is written to it.
        var isClosed = false
        /// A write or sync failed: its blocks are not to be trusted again.
        var isBroken = false
        /// Parts of it could not be read: it is kept for a human instead of being recycled.
        var isKept = false
    }

    /// Oldest first; the last one may be open.
    private(set) var segments: [Segment] = []
    private(set) var totalBytes = 0
    private(set) var liveBytes = 0
    private let nominalSize: Int
    /// What is live in every segment is known; until then none is given back or emptied.
    var isComplete = true

    /// - Parameter segmentSize: bytes of a segment as they are made now.
    init(segmentSize: Int) { nominalSize = segmentSize }

    mutating func open(_ sequence: UInt32, size: Int) {
        segments.append(Segment(sequence: sequence, size: size))
        totalBytes += size
    }

    mutating func closeLast(isBroken: Bool = false) {
        guard let last = segments.indices.last else { return }
        segments[last].isClosed = true
        segments[last].isBroken = segments[last].isBroken || isBroken
    }

    mutating func keep(_ sequence: UInt32) {
        if let index = index(of: sequence) { segments[index].isKept = true }
    }

    mutating func add(_ location: Location) {
        guard let index = index(of: location.segment), segments[index].live.insert(location.offset).inserted else {
            return
        }
        segments[index].liveBytes += Int(location.length)
        liveBytes += Int(location.length)
    }

    func isLive(_ location: Location) -> Bool {
        index(of: location.segment).map { segments[$0].live.contains(location.offset) } ?? false
    }

    /// Counts a message out; one that is not live changes nothing.
    mutating func remove(_ location: Location) {
        guard let index = index(of: location.segment), segments[index].live.remove(location.offset) != nil else {
            return
        }
        segments[index].liveBytes -= Int(location.length)
        liveBytes -= Int(location.length)
    }

    /// Takes out the oldest segments, in order, as far as they are closed and empty.
    mutating func takeFinished() -> [Segment] {
        guard isComplete else { return [] }
        let finished = segments.prefix { $0.isClosed && $0.live.isEmpty }
        guard !finished.isEmpty else { return [] }
        segments.removeFirst(finished.count)
        totalBytes -= finished.reduce(0) { $0 + $1.size }
        return Array(finished)
    }

    /// The oldest segment, when copying its live messages forward is worth it: they fill less than a quarter of it, or
    /// old segments hold much more space than the live mail needs.
    var segmentToCompact: UInt32? {
        guard isComplete, segments.count > 1, let oldest = segments.first, oldest.isClosed else { return nil }
        let isSparse = oldest.liveBytes < oldest.size / 4
        let isHoarding = totalBytes > 4 * liveBytes + 4 * nominalSize
        return isSparse || isHoarding ? oldest.sequence : nil
    }

    private func index(of sequence: UInt32) -> Int? {
        var low = 0
        var high = segments.count
        while low < high {
            let middle = (low + high) / 2
            if segments[middle].sequence < sequence { low = middle + 1 } else { high = middle }
        }
        return low < segments.count && segments[low].sequence == sequence ? low : nil
    }
}
