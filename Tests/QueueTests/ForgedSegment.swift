// ForgedSegment.swift — a segment whose checksums are right, whatever stands in its records.

import Files
import Mail
import NIOCore

@testable import Storage

/// Puts records together as the spool would, and lets a test change them before their checksums are made.
struct ForgedSegment {
    private let stamp: SegmentStamp
    private let capacity: Int
    private let sequence: UInt32
    private var records: [[UInt8]] = []

    init(sequence: UInt32 = 1, capacity: Int = 16 << 10) {
        self.sequence = sequence
        self.capacity = capacity
        stamp = SegmentStamp(sequence: sequence, salt: 77)
    }

    /// A message whose bytes are in the record; with a state it is one that was copied forward.
    static func record(_ message: NewMessage, _ state: DeliveryState? = nil) -> [UInt8] {
        var bytes: [UInt8] = []
        let plan = bytes.appendRecord(message, state: state, bodyChecksum: 0)
        var record = Array(bytes[plan.head])
        record += message.content.prologue.readableBytesView
        if case .memory(let body) = message.content.body { record += body.readableBytesView }
        record += bytes[plan.tail]
        record[8] = plan.kind.rawValue
        return record
    }

    /// A note about a message.
    static func record(_ state: DeliveryState, of id: QueueID) -> [UInt8] {
        var bytes: [UInt8] = []
        _ = bytes.appendRecord(state, of: id, .none)
        bytes[8] = SpoolKind.attempt.rawValue
        return bytes
    }

    /// The end of a message.
    static func record(settled id: QueueID) -> [UInt8] {
        var bytes: [UInt8] = []
        _ = bytes.appendRecord(settled: id, .none)
        bytes[8] = SpoolKind.settled.rawValue
        return bytes
    }

    mutating func add(_ record: [UInt8]) { records.append(record) }

    /// The file's name.
    var name: String { SegmentFile.name(sequence) }

    /// The whole file.
    ///
    /// - Parameter changingIndex: called with the table at the end; nil leaves the segment without one.
    func bytes(changingIndex: ((inout [UInt8]) -> Void)? = nil) -> [UInt8] {
        let header = SegmentHeader(role: .data, sequence: sequence, salt: 77, capacity: capacity).encoded()
        var bytes = header
        var index = SpoolIndex()
        for record in records {
            let offset = bytes.count
            let sealed = sealed(record, at: offset)
            bytes += sealed
            sealed.withUnsafeBytes { raw in
                guard let kind = SpoolKind(rawValue: sealed[8]) else { return }
                _ = try? index.add(raw, kind: kind, at: offset)
            }
        }
        var table = index.bytes
        let end = bytes.count
        if let changingIndex {
            changingIndex(&table)
            bytes += table
        }
        bytes += [UInt8](repeating: 0, count: max(0, capacity - SegmentFile.reserve - bytes.count))
        if changingIndex == nil {
            bytes += [UInt8](repeating: 0, count: SegmentFooter.size)
        } else {
            let checksum = SpoolScanner.checksum(table, in: stamp)
            bytes += SegmentFooter(indexOffset: end, indexLength: table.count, indexChecksum: checksum).encoded(
                in: stamp
            )
        }
        return bytes + header
    }

    private func sealed(_ record: [UInt8], at offset: Int) -> [UInt8] {
        var record = record
        func put(_ number: UInt32, _ place: Int) {
            for byte in 0..<4 { record[place + byte] = UInt8(truncatingIfNeeded: number >> UInt32(8 * byte)) }
        }
        let mark = stamp.mark(offset: offset, length: record.count, kind: record[8])
        put(UInt32(truncatingIfNeeded: record.count), 0)
        put(mark, 12)
        put(~mark, record.count - 4)
        if record[8] == SpoolKind.message.rawValue || record[8] == SpoolKind.moved.rawValue {
            let checksum: UInt32? = record.withUnsafeBytes { raw in
                guard let parts = try? SpoolRecord.parts(raw, length: raw.count) else { return nil }
                return SpoolRecord.headChecksum(.init(rebasing: raw[..<parts.state.upperBound]), in: stamp)
            }
            if let checksum { put(checksum, 60) }
        }
        var crc = CRC32C(continuing: stamp.seed)
        record.withUnsafeBytes { crc.update(UnsafeRawBufferPointer(rebasing: $0[8..<$0.count - 4])) }
        put(crc.value, 4)
        return record
    }
}
