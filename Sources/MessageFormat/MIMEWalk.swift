// MIMEWalk.swift — goes through a message as it comes and tells its parts apart (RFC 2046 §5): headers, contents, and what
// stands between them.
//
// Guarantees: how the octets are cut into pieces makes no difference; what is kept is one header and the beginning of one
// line; depth and number of parts are bounded. Everything is told in its order, so whoever passes all of it on has the
// message.

import Glibc
import NIOCore

/// What is seen on the way.
protocol MIMEVisitor {
    /// A header is complete: all its lines with their ends, without the empty one, which follows even where it is missing.
    mutating func header(_ entity: MIMEEntity, _ fields: [HeaderFields.Field], _ lines: [UInt8])
    /// Some content of a part that has no parts itself; the line end in front of a delimiter is none of it.
    mutating func content(_ bytes: UnsafeRawBufferPointer, of entity: MIMEEntity)
    /// The part is over.
    mutating func contentEnded(_ entity: MIMEEntity)
    /// Delimiters with the line end in front of them, preambles and epilogues.
    mutating func between(_ bytes: UnsafeRawBufferPointer, isSigned: Bool)
}

/// The way through one message.
struct MIMEWalk: Sendable {
    /// Why it was not gone to the end.
    enum Fault: Hashable, Sendable {
        /// Too many parts, or parts in parts, or a header that is too long.
        case tooComplex
    }

    private static let mostParts = 10_000
    private static let mostLevels = 50
    /// Octets of one header.
    private static let mostHeader = 1 << 20
    /// Octets of a line that may be a delimiter.
    private static let mostDelimiter = 1000

    private enum Place: Sendable {
        case header, content, between
    }

    private struct Level: Sendable {
        let delimiter: [UInt8]
        let isSigned: Bool
        let isDigest: Bool
    }

    private var levels: [Level] = []
    private var place = Place.header
    private var header: [UInt8] = []
    private var block = HeaderBlock(limit: .max)
    private var entity = MIMEEntity(0, [], isSigned: false, isDigest: false)
    private var count = 0
    /// The beginning of a line whose end has not come.
    private var line: [UInt8] = []
    /// The line that has begun is no delimiter: it passes as it comes.
    private var isMidLine = false
    /// A CR that may be the first half of a line end.
    private var owesCR = false
    /// A line end that is the content's unless a delimiter follows.
    private var owesLineEnd = false
    private(set) var fault: Fault?

    private var isSigned: Bool { levels.last?.isSigned ?? false }

    /// Takes more of the message.
    mutating func consume(_ bytes: UnsafeRawBufferPointer, _ visitor: inout some MIMEVisitor) {
        var start = 0
        while start < bytes.count, fault == nil, let base = bytes.baseAddress {
            let feed = memchr(base + start, 0x0A, bytes.count - start)
            let end = feed.map { UnsafeRawPointer($0) - base + 1 } ?? bytes.count
            let piece = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
            start = end
            if isMidLine {
                pass(piece, isWhole: feed != nil, &visitor)
            } else if feed != nil, line.isEmpty {
                take(piece, &visitor)
            } else {
                gather(piece, isWhole: feed != nil, &visitor)
            }
        }
    }

    /// The message is over.
    mutating func finish(_ visitor: inout some MIMEVisitor) {
        guard fault == nil else { return }
        if !line.isEmpty { takeLine(&visitor) }
        if place == .header { endHeader(&visitor) }
        if owesCR { deliver([0x0D], &visitor) }
        owesCR = false
        if owesLineEnd { deliver([0x0D, 0x0A], &visitor) }
        owesLineEnd = false
        if place == .content { visitor.contentEnded(entity) }
    }

    // MARK: lines

    private mutating func gather(_ piece: UnsafeRawBufferPointer, isWhole: Bool, _ visitor: inout some MIMEVisitor) {
        line += piece
        if isWhole { return takeLine(&visitor) }
        if place == .header {
            if line.count > Self.mostHeader { fault = .tooComplex }
        } else if line.count > Self.mostDelimiter {
            let start = line
            line.removeAll(keepingCapacity: true)
            start.withUnsafeBytes { pass($0, isWhole: false, &visitor) }
            isMidLine = true
        }
    }

    private mutating func takeLine(_ visitor: inout some MIMEVisitor) {
        let whole = line
        line.removeAll(keepingCapacity: true)
        whole.withUnsafeBytes { take($0, &visitor) }
    }

    /// A whole line with its end.
    private mutating func take(_ bytes: UnsafeRawBufferPointer, _ visitor: inout some MIMEVisitor) {
        if let (level, isLast) = delimiter(bytes) { return cross(level, isLast: isLast, bytes, &visitor) }
        guard place == .header else { return pass(bytes, isWhole: true, &visitor) }
        header += bytes
        block.consume(bytes)
        if header.count > Self.mostHeader {
            fault = .tooComplex
        } else if block.hasEnded {
            endHeader(&visitor)
        }
    }

    /// Passes a line on, or some of it.
    private mutating func pass(_ bytes: UnsafeRawBufferPointer, isWhole: Bool, _ visitor: inout some MIMEVisitor) {
        if owesLineEnd { deliver([0x0D, 0x0A], &visitor) }
        owesLineEnd = false
        if owesCR, bytes.first != 0x0A { deliver([0x0D], &visitor) }
        owesCR = false
        var text = bytes[...]
        if isWhole, text.last == 0x0A {
            text.removeLast()
            owesLineEnd = true
            if text.last == 0x0D { text.removeLast() }
        } else if text.last == 0x0D {
            text.removeLast()
            owesCR = true
        }
        isMidLine = !isWhole
        if !text.isEmpty { deliver(UnsafeRawBufferPointer(rebasing: text), &visitor) }
    }

    private mutating func deliver(_ bytes: [UInt8], _ visitor: inout some MIMEVisitor) {
        bytes.withUnsafeBytes { deliver($0, &visitor) }
    }

    private func deliver(_ bytes: UnsafeRawBufferPointer, _ visitor: inout some MIMEVisitor) {
        if place == .content {
            visitor.content(bytes, of: entity)
        } else {
            visitor.between(bytes, isSigned: isSigned)
        }
    }

    // MARK: structure

    /// The level whose delimiter a line is, and whether it is its last.
    private func delimiter(_ line: UnsafeRawBufferPointer) -> (level: Int, isLast: Bool)? {
        guard !levels.isEmpty, line.count > 2, line[0] == UInt8(ascii: "-"), line[1] == UInt8(ascii: "-") else {
            return nil
        }
        for (level, open) in levels.enumerated().reversed() where line.starts(with: open.delimiter) {
            var rest = line[open.delimiter.count...]
            let isLast = rest.starts(with: [UInt8(ascii: "-"), UInt8(ascii: "-")])
            if isLast { rest = rest.dropFirst(2) }
            // Longer boundaries may begin like this one.
            if rest.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D || $0 == 0x0A }) { return (level, isLast) }
        }
        return nil
    }

    private mutating func cross(
        _ level: Int,
        isLast: Bool,
        _ line: UnsafeRawBufferPointer,
        _ visitor: inout some MIMEVisitor
    ) {
        if place == .header { endHeader(&visitor) }
        if place == .content { visitor.contentEnded(entity) }
        place = .between
        let isSigned = levels[level].isSigned
        levels.removeLast(levels.count - (isLast ? level : level + 1))
        if owesLineEnd {
            withUnsafeBytes(of: (0x0D, 0x0A) as (UInt8, UInt8)) { visitor.between($0, isSigned: isSigned) }
        }
        owesLineEnd = false
        visitor.between(line, isSigned: isSigned)
        if !isLast { beginHeader() }
    }

    private mutating func beginHeader() {
        place = .header
        header.removeAll(keepingCapacity: true)
        block = HeaderBlock(limit: .max)
    }

    private mutating func endHeader(_ visitor: inout some MIMEVisitor) {
        let (size, end) = (block.size, block.end)
        var rest = Array(header[min(size, header.count)...])
        header.removeLast(rest.count)
        // The empty line is neither header nor text.
        if end == .emptyLine, let feed = rest.firstIndex(of: 0x0A) { rest.removeFirst(feed + 1) }
        let fields = HeaderFields(header).fields
        entity = MIMEEntity(count, fields, isSigned: isSigned, isDigest: levels.last?.isDigest ?? false)
        count += 1
        visitor.header(entity, fields, header)
        if count > Self.mostParts || levels.count > Self.mostLevels {
            fault = .tooComplex
        } else if entity.isMultipart, let boundary = entity.boundary {
            place = .between
            levels.append(
                Level(
                    delimiter: [UInt8(ascii: "-"), UInt8(ascii: "-")] + boundary,
                    isSigned: isSigned || entity.subtype == "signed",
                    isDigest: entity.subtype == "digest"
                )
            )
        } else if entity.isMessage {
            beginHeader()
        } else {
            place = .content
        }
        rest.withUnsafeBytes { text in
            var text = text[...]
            while !text.isEmpty {
                let end = text.firstIndex(of: 0x0A).map { $0 + 1 } ?? text.endIndex
                take(UnsafeRawBufferPointer(rebasing: text[..<end]), &visitor)
                text = text[end...]
            }
        }
    }
}
