// SectionWindow.swift — one section of a large file of sections, found without reading the rest. Pure.

import Glibc

/// Where a section stands: from its `[name]` line to the next one.
struct SectionWindow: Hashable {
    /// Bytes of the section.
    let section: Range<Int>
    /// The `[name]` line behind it, which a comment above it belongs to; empty at the end of the file.
    let next: Range<Int>

    /// The section of a name as it stands in the brackets, which comes once.
    init?(_ name: String, in bytes: [UInt8]) {
        let wanted = Array("[\(name)]".utf8)
        var from = 0
        while let found = Self.first(wanted, in: bytes, from: from) {
            let line = Self.line(around: found, in: bytes)
            if let header = Self.header(line, in: bytes), header.utf8.elementsEqual(name.utf8) {
                self.init(from: line, in: bytes)
                return
            }
            from = line.upperBound
        }
        return nil
    }

    /// The last section of a file.
    init?(lastIn bytes: [UInt8]) {
        var end = bytes.count
        while end > 0 {
            let line = Self.line(around: end - 1, in: bytes)
            if Self.header(line, in: bytes) != nil {
                self.init(from: line, in: bytes)
                return
            }
            end = line.lowerBound
        }
        return nil
    }

    private init(from header: Range<Int>, in bytes: [UInt8]) {
        var start = header.upperBound
        while start < bytes.count {
            let line = Self.line(around: start, in: bytes)
            if Self.header(line, in: bytes) != nil {
                (section, next) = (header.lowerBound..<start, line)
                return
            }
            start = line.upperBound
        }
        (section, next) = (header.lowerBound..<start, start..<start)
    }

    /// The line that holds a byte, with its line feed.
    private static func line(around place: Int, in bytes: [UInt8]) -> Range<Int> {
        let feed = UInt8(ascii: "\n")
        let start = bytes[..<place].lastIndex(of: feed).map { $0 + 1 } ?? 0
        let end = bytes[place...].firstIndex(of: feed).map { $0 + 1 } ?? bytes.count
        return start..<end
    }

    /// The name in the brackets of a line; nil for other lines.
    private static func header(_ line: Range<Int>, in bytes: [UInt8]) -> String? {
        guard bytes[line].contains(UInt8(ascii: "[")) else { return nil }
        return INIDocument(parsing: String(decoding: bytes[line], as: UTF8.self)).headers.first?.name
    }

    private static func first(_ wanted: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        bytes.withUnsafeBytes { bytes -> Int? in
            guard let base = bytes.baseAddress, let opening = wanted.first else { return nil }
            var from = start
            while from + wanted.count <= bytes.count,
                let found = memchr(base + from, Int32(opening), bytes.count - from)
            {
                from = UnsafeRawPointer(found) - base
                if from + wanted.count <= bytes.count, memcmp(found, wanted, wanted.count) == 0 { return from }
                from += 1
            }
            return nil
        }
    }
}
