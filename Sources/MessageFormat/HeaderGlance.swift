// HeaderGlance.swift — the few words of a message's header that events carry. Pure.

import Glibc
import Mail

/// What events want of a header.
package struct HeaderGlance: Hashable, Sendable {
    /// With its angle brackets.
    package var messageID: String?
    package var tag: String?

    /// Octets of a value at most.
    private static let longest = 255
    private static let messageIDName = Array("message-id".utf8)

    /// - Parameters:
    ///   - beginning: of the message; the header may be cut off, then the last field counts for nothing.
    ///   - tagHeader: name of a field, in small letters; nil: none.
    package init(_ beginning: [UInt8], tagHeader: [UInt8]?) {
        beginning.withUnsafeBytes { bytes in
            var start = 0
            while start < bytes.count {
                // The empty line, or what is cut off.
                guard bytes[start] != 0x0D, bytes[start] != 0x0A, let end = Self.fieldEnd(bytes, from: start) else {
                    return
                }
                let field = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                if messageID == nil, let value = Self.value(of: Self.messageIDName, field) {
                    messageID = Self.text(value)
                } else if tag == nil, let tagHeader, let value = Self.value(of: tagHeader, field) {
                    tag = Self.text(value)
                }
                if messageID != nil, tagHeader == nil || tag != nil { return }
                start = end
            }
        }
    }

    /// Behind the line end of a field, its folds included; nil where it is cut off.
    private static func fieldEnd(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard let base = bytes.baseAddress else { return nil }
        var position = start
        while let line = memchr(base + position, 0x0A, bytes.count - position) {
            position = UnsafeRawPointer(line) - base + 1
            guard position < bytes.count, bytes[position] == 0x20 || bytes[position] == 0x09 else { return position }
        }
        return nil
    }

    /// What stands behind the colon of a field, if it has that name; blanks before the colon are old syntax.
    private static func value(of name: [UInt8], _ field: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard field.count > name.count else { return nil }
        for index in name.indices {
            let byte = field[index]
            guard (byte &- 0x41 < 26 ? byte | 0x20 : byte) == name[index] else { return nil }
        }
        var colon = name.count
        while colon < field.count, field[colon] == 0x20 || field[colon] == 0x09 { colon += 1 }
        guard colon < field.count, field[colon] == UInt8(ascii: ":") else { return nil }
        return UnsafeRawBufferPointer(rebasing: field[(colon + 1)...])
    }

    /// Without folds, blanks at the ends and control characters.
    private static func text(_ value: UnsafeRawBufferPointer) -> String? {
        var (start, end) = (0, value.count)
        while start < end, isBlank(value[start]) { start += 1 }
        while start < end, isBlank(value[end - 1]) { end -= 1 }
        let rest = UnsafeRawBufferPointer(rebasing: value[start..<end])
        if rest.count <= longest, !rest.contains(where: isBlank) {
            return rest.isEmpty ? nil : String(decoding: rest, as: UTF8.self)
        }
        var words: [UInt8] = []
        for byte in rest {
            if !isBlank(byte) { words.append(byte) } else if words.last != 0x20 { words.append(0x20) }
            // The rest is cut off, a letter that reaches over the end with it.
            if words.count > longest + 4 { break }
        }
        return String(decoding: words, as: UTF8.self).cut(octets: longest)
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte <= 0x20 || byte == 0x7F }
}
