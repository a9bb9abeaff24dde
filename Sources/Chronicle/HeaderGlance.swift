// HeaderGlance.swift — the few words of a message's header that events carry. Pure.

import Mail
import MessageFormat

/// What events want of a header.
struct HeaderGlance: Hashable, Sendable {
    /// With its angle brackets.
    var messageID: String?
    var tag: String?

    /// Octets of a value at most.
    private static let longest = 255
    private static let messageIDName = Array("message-id".utf8)

    /// - Parameters:
    ///   - beginning: of the message; the header may be cut off, then the last field counts for nothing.
    ///   - tagHeader: name of a field, in small letters; nil: none.
    init(_ beginning: [UInt8], tagHeader: [UInt8]?) {
        var start = 0
        while start < beginning.count {
            let end = Self.fieldEnd(beginning, from: start)
            // The empty line, or what is cut off.
            guard let end, beginning[start] != 0x0D, beginning[start] != 0x0A else { return }
            if messageID == nil, Self.isCalled(Self.messageIDName, beginning[start..<end]) {
                messageID = Self.value(Array(beginning[start..<end]))
            } else if tag == nil, let tagHeader, Self.isCalled(tagHeader, beginning[start..<end]) {
                tag = Self.value(Array(beginning[start..<end]))
            }
            if messageID != nil, tagHeader == nil || tag != nil { return }
            start = end
        }
    }

    /// Behind the line end of a field, its folds included; nil where it is cut off.
    private static func fieldEnd(_ bytes: [UInt8], from start: Int) -> Int? {
        var position = start
        while true {
            guard let feed = bytes[position...].firstIndex(of: 0x0A) else { return nil }
            position = feed + 1
            guard position < bytes.count, bytes[position] == 0x20 || bytes[position] == 0x09 else { return position }
        }
    }

    private static func isCalled(_ name: [UInt8], _ field: ArraySlice<UInt8>) -> Bool {
        guard field.count > name.count else { return false }
        for (index, letter) in name.enumerated() {
            let byte = field[field.startIndex + index]
            guard (byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte) == letter else { return false }
        }
        let next = field[field.startIndex + name.count]
        return next == UInt8(ascii: ":") || next == 0x20 || next == 0x09
    }

    /// Without folds, blanks at the ends and control characters.
    private static func value(_ field: [UInt8]) -> String? {
        guard let value = HeaderFields(field).fields.first?.value else { return nil }
        let text = String(decoding: value.map { $0 < 0x20 || $0 == 0x7F ? 0x20 : $0 }, as: UTF8.self)
        let words = text.words.joined(separator: " ")
        return words.isEmpty ? nil : words.cut(octets: longest)
    }
}
