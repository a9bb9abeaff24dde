// HoldsLog.swift — changes of the list of held messages, one behind the other: `queue/holds.log`. A pure value.
//
// A batch is a line `= BYTES CHECKSUM` and so many bytes of lines as in `holds`; a line `ID -` releases. It counts whole or not
// at all, so a write that was cut off changes nothing. Reading the changes again over a list that has them changes nothing
// either: the list may be written anew at any time, and the log removed later.

import Files
package import Mail

/// One message's hold as it is from now on.
package struct HoldChange: Hashable, Sendable {
    package let id: QueueID
    /// Nil: nothing holds it.
    package let hold: Hold?

    package init(_ id: QueueID, _ hold: Hold?) { (self.id, self.hold) = (id, hold) }
}

enum HoldsLog {
    /// Bytes of a log that is worth writing the list anew, at least; a longer list waits for a longer log.
    static let short = 64 << 10

    static func encoded(_ changes: [HoldChange]) -> [UInt8] {
        var lines: [UInt8] = []
        for change in changes {
            lines += (change.hold.map { HoldsFile.line(change.id, $0) } ?? "\(change.id) -\n").utf8
        }
        let checksum = String(lines.withUnsafeBytes { CRC32C.of($0) }, radix: 16)
        return Array("= \(lines.count) \(checksum)\n".utf8) + lines
    }

    /// Applies the changes of a log to a list.
    ///
    /// - Returns: what is no batch and has sound ones behind it, for a human: a message that it names is held all the same. What
    ///   was cut off at the end is nothing that anybody was told of; then the log does not end where it should.
    static func apply(_ bytes: [UInt8], to holds: inout [QueueID: Hold]) -> (damaged: [UInt8], isCutOff: Bool) {
        var damaged: [UInt8] = []
        /// Where bytes began that are no batch.
        var gap: Int?
        var position = 0
        while position < bytes.count {
            guard let lines = batch(bytes, at: position) else {
                gap = gap ?? position
                position = bytes[position...].firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? bytes.count
                continue
            }
            if let start = gap {
                damaged += bytes[start..<position]
                for (id, hold) in HoldsFile.decoded(Array(bytes[start..<position])).holds where holds[id] == nil {
                    holds[id] = hold
                }
                gap = nil
            }
            apply(lines: bytes[lines], to: &holds)
            position = lines.upperBound
        }
        return (damaged, gap != nil)
    }

    /// The lines of the batch that begins there; nil when none does.
    private static func batch(_ bytes: [UInt8], at start: Int) -> Range<Int>? {
        // Two numbers and what stands around them.
        guard let end = bytes[start..<min(start + 40, bytes.count)].firstIndex(of: UInt8(ascii: "\n")) else {
            return nil
        }
        let fields = bytes[start..<end].split(octet: " ", maxSplits: 3, omittingEmpty: false)
        guard fields.count == 3, fields[0].elementsEqual("=".utf8),
            let count = Int(String(decoding: fields[1], as: UTF8.self)), count >= 0, count <= bytes.count - end - 1,
            let checksum = UInt32(String(decoding: fields[2], as: UTF8.self), radix: 16)
        else { return nil }
        let lines = end + 1..<end + 1 + count
        let found = bytes.withUnsafeBytes { CRC32C.of(UnsafeRawBufferPointer(rebasing: $0[lines])) }
        return found == checksum ? lines : nil
    }

    private static func apply(lines: ArraySlice<UInt8>, to holds: inout [QueueID: Hold]) {
        for line in lines.split(octet: "\n") {
            if line.suffix(2).elementsEqual(" -".utf8),
                let id = QueueID(String(decoding: line.dropLast(2), as: UTF8.self))
            {
                holds[id] = nil
            } else {
                holds.merge(HoldsFile.decoded(Array(line)).holds) { _, new in new }
            }
        }
    }
}
