// OctetWriter.swift — a line of several short texts, composed in one go.
//
// A buffer looks for room, for other owners and for overlapping access with each text that is appended, which costs ten times
// as much as a text of a few octets is worth; a line of twelve texts asks once.

package import NIOCore

/// Room that texts are put into one behind the other.
///
/// Never writes beyond its room: what does not fit is counted, and ``NIOCore/ByteBuffer/compose(_:_:)`` begins again.
package struct OctetWriter: ~Copyable {
    private let room: UnsafeMutableRawBufferPointer
    /// Octets so far, those included that found no room.
    package private(set) var count = 0

    package init(_ room: UnsafeMutableRawBufferPointer) { self.room = room }

    /// Octets as they are.
    package mutating func put(_ octets: UnsafeRawBufferPointer) {
        let end = count &+ octets.count
        if end <= room.count, let from = octets.baseAddress, let to = room.baseAddress {
            (to + count).copyMemory(from: from, byteCount: octets.count)
        }
        count = end
    }

    /// Text of ours.
    package mutating func put(_ text: StaticString) {
        put(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// The UTF-8 of a text.
    package mutating func put(_ text: String) {
        var text = text
        text.withUTF8 { put(UnsafeRawBufferPointer($0)) }
    }

    /// One octet.
    package mutating func put(_ octet: UInt8) {
        if count < room.count { room[count] = octet }
        count &+= 1
    }

    /// Decimal digits without leading zeros.
    package mutating func put(decimal number: UInt) {
        var divisor: UInt = 1
        while number / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            put(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / divisor % 10))
            divisor /= 10
        }
    }

    /// The thirteen letters of a queue id.
    package mutating func put(_ id: QueueID) {
        if count &+ QueueID.length <= room.count {
            id.write(to: UnsafeMutableRawBufferPointer(rebasing: room[count..<count &+ QueueID.length]))
        }
        count &+= QueueID.length
    }
}

extension ByteBuffer {
    /// Appends what `write` puts.
    ///
    /// - Parameters:
    ///   - expected: octets that suffice most often.
    ///   - write: is called once more when they did not, and must put the same again.
    package mutating func compose(_ expected: Int, _ write: (inout OctetWriter) -> Void) {
        var room = expected
        while true {
            var wanted = 0
            let written = writeWithUnsafeMutableBytes(minimumWritableBytes: room) { bytes in
                var writer = OctetWriter(bytes)
                write(&writer)
                wanted = writer.count
                return wanted <= bytes.count ? wanted : 0
            }
            if written == wanted { return }
            room = wanted
        }
    }
}
