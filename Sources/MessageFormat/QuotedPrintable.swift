// QuotedPrintable.swift — text that any next hop takes (RFC 2045 §6.7), a piece at a time: the one encoder of the house.
//
// Guarantees: lines of at most 76 octets, seven bits, no blank at a line's end; how the input is cut makes no difference.

import NIOCore

/// Writes quoted-printable.
struct QuotedPrintable: Sendable {
    private static let digits = Array("0123456789ABCDEF".utf8)
    /// Octets of a line, of which the soft break takes one more.
    private static let most = 75

    /// A line that begins with a dot or `From ` is changed by some mailers on the way: those letters are written as octets.
    private let guardsLineStarts: Bool
    private var column = 0
    /// A blank that may be a line's last, or a CR that may be a line end's first.
    private var held: UInt8?

    init(guardsLineStarts: Bool = true) { self.guardsLineStarts = guardsLineStarts }

    /// Writes a text; its line ends become CRLF, and it ends with one.
    static func write(_ text: some StringProtocol, guardsLineStarts: Bool = true, to out: inout ByteBuffer) {
        var encoder = QuotedPrintable(guardsLineStarts: guardsLineStarts)
        var previous: UInt8 = 0x0A
        for byte in text.utf8 {
            switch byte {
            case 0x0A where previous == 0x0D: break
            case 0x0A, 0x0D: encoder.endLine(to: &out)
            default: encoder.take(byte, to: &out)
            }
            previous = byte
        }
        encoder.finish(to: &out)
        if previous != 0x0A, previous != 0x0D { out.writeStaticString("\r\n") }
    }

    /// Writes octets; CRLF is a line end, everything else is text.
    mutating func encode(_ bytes: UnsafeRawBufferPointer, to out: inout ByteBuffer) {
        var index = 0
        while index < bytes.count {
            let run = plainRun(bytes, from: index)
            if run > 0 {
                out.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[index..<(index + run)]))
                column += run
                index += run
                continue
            }
            step(bytes[index], to: &out)
            index += 1
        }
    }

    /// How many octets from here may stand in this line as they are.
    private func plainRun(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        guard held == nil, column > 0 else { return 0 }
        let end = min(bytes.count, start + Self.most - column)
        var index = start
        while index < end, bytes[index] > 0x20, bytes[index] < 0x7F, bytes[index] != 0x3D { index += 1 }
        return index - start
    }

    private mutating func step(_ byte: UInt8, to out: inout ByteBuffer) {
        if held == 0x0D {
            held = nil
            if byte == 0x0A {
                out.writeStaticString("\r\n")
                column = 0
                return
            }
            escape(0x0D, to: &out)
        }
        if byte == 0x0D {
            releaseBlank(isLast: true, to: &out)
            held = byte
        } else {
            take(byte, to: &out)
        }
    }

    /// Nothing more follows; the last line gets no end.
    mutating func finish(to out: inout ByteBuffer) {
        if held == 0x0D { escape(0x0D, to: &out) } else { releaseBlank(isLast: true, to: &out) }
        held = nil
    }

    private mutating func endLine(to out: inout ByteBuffer) {
        releaseBlank(isLast: true, to: &out)
        out.writeStaticString("\r\n")
        column = 0
    }

    private mutating func take(_ byte: UInt8, to out: inout ByteBuffer) {
        releaseBlank(isLast: false, to: &out)
        switch byte {
        case 0x20, 0x09: held = byte
        case UInt8(ascii: "."), UInt8(ascii: "F"):
            makeRoom(1, to: &out)
            if column == 0, guardsLineStarts { escape(byte, to: &out) } else { plain(byte, to: &out) }
        case 0x21...0x3C, 0x3E...0x7E: plain(byte, to: &out)
        default: escape(byte, to: &out)
        }
    }

    private mutating func releaseBlank(isLast: Bool, to out: inout ByteBuffer) {
        guard let blank = held else { return }
        held = nil
        if isLast { escape(blank, to: &out) } else { plain(blank, to: &out) }
    }

    private mutating func plain(_ byte: UInt8, to out: inout ByteBuffer) {
        makeRoom(1, to: &out)
        out.writeInteger(byte)
        column += 1
    }

    private mutating func escape(_ byte: UInt8, to out: inout ByteBuffer) {
        makeRoom(3, to: &out)
        out.writeInteger(UInt8(ascii: "="))
        out.writeInteger(Self.digits[Int(byte >> 4)])
        out.writeInteger(Self.digits[Int(byte & 15)])
        column += 3
    }

    private mutating func makeRoom(_ width: Int, to out: inout ByteBuffer) {
        guard column + width > Self.most else { return }
        out.writeStaticString("=\r\n")
        column = 0
    }
}

/// Text that says it is quoted-printable and is not quite: octets beyond ASCII become `=XX`, long lines are broken softly.
///
/// It decodes to the same octets.
struct QuotedPrintableMending: Sendable {
    private var column = 0

    /// Writes octets; CRLF is a line end.
    mutating func mend(_ bytes: UnsafeRawBufferPointer, to out: inout ByteBuffer) {
        for byte in bytes {
            switch byte {
            case 0x0D, 0x0A:
                out.writeInteger(byte)
                column = 0
                continue
            // An escape stays in one line.
            case UInt8(ascii: "="): makeRoom(3, to: &out)
            case 0x09, 0x20...0x7E: makeRoom(1, to: &out)
            default:
                makeRoom(3, to: &out)
                var escape = QuotedPrintable()
                withUnsafeBytes(of: byte) { escape.encode($0, to: &out) }
                column += 3
                continue
            }
            out.writeInteger(byte)
            column += 1
        }
    }

    private mutating func makeRoom(_ width: Int, to out: inout ByteBuffer) {
        guard column + width > 75 else { return }
        out.writeStaticString("=\r\n")
        column = 0
    }
}
