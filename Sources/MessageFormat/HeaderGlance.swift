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
        var start = 0
        while start < beginning.count {
            let end = Self.fieldEnd(beginning, from: start)
            // The empty line, or what is cut off.
            guard let end, beginning[start] != 0x0D, beginning[start] != 0x0A else { return }
            if messageID == nil, let value = Self.value(of: Self.messageIDName, beginning[start..<end]) {
                messageID = Self.text(value)
            } else if tag == nil, let tagHeader, let value = Self.value(of: tagHeader, beginning[start..<end]) {
                tag = Self.text(value)
            }
            if messageID != nil, tagHeader == nil || tag != nil { return }
            start = end
        }
    }

    /// Behind the line end of a field, its folds included; nil where it is cut off.
    private static func fieldEnd(_ bytes: [UInt8], from start: Int) -> Int? {
        var position = start
        while true {
            let line = bytes.withUnsafeBytes { bytes -> Int? in
                guard let base = bytes.baseAddress else { return nil }
                return memchr(base + position, 0x0A, bytes.count - position).map { UnsafeRawPointer($0) - base }
            }
            guard let line else { return nil }
            position = line + 1
            guard position < bytes.count, bytes[position] == 0x20 || bytes[position] == 0x09 else { return position }
        }
    }

    /// What stands behind the colon of a field, if it has that name; blanks before the colon are old syntax.
    private static func value(of name: [UInt8], _ field: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard field.count > name.count else { return nil }
        for (index, letter) in name.enumerated() {
            let byte = field[field.startIndex + index]
            guard (byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte) == letter else { return nil }
        }
        let rest = field.dropFirst(name.count).drop { $0 == 0x20 || $0 == 0x09 }
        return rest.first == UInt8(ascii: ":") ? rest.dropFirst() : nil
    }

    /// Without folds, blanks at the ends and control characters.
    private static func text(_ value: ArraySlice<UInt8>) -> String? {
        var words: [UInt8] = []
        words.reserveCapacity(min(value.count, longest + 1))
        var isBetween = false
        for byte in value {
            if byte <= 0x20 || byte == 0x7F {
                isBetween = !words.isEmpty
                continue
            }
            if isBetween { words.append(0x20) }
            isBetween = false
            words.append(byte)
            // The rest is cut off, a letter that reaches over the end with it.
            if words.count > longest + 4 { break }
        }
        return words.isEmpty ? nil : String(decoding: words, as: UTF8.self).cut(octets: longest)
    }
}
