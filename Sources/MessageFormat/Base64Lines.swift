// Base64Lines.swift — octets as base64 in lines of 76 letters (RFC 2045 §6.8), a piece at a time.

import Mail
import NIOCore

/// Writes base64; lines end in CRLF, the last one does not.
struct Base64Lines: Sendable {
    /// Octets of a line.
    private static let octets = 57

    private var rest: [UInt8] = []
    private var isFirst = true

    /// Writes the lines that are full.
    mutating func encode(_ bytes: UnsafeRawBufferPointer, to out: inout ByteBuffer) {
        var bytes = bytes[...]
        while rest.count + bytes.count >= Self.octets {
            let count = Self.octets - rest.count
            rest += bytes.prefix(count)
            bytes = bytes.dropFirst(count)
            line(to: &out)
        }
        rest += bytes
    }

    /// Nothing more follows.
    mutating func finish(to out: inout ByteBuffer) {
        if !rest.isEmpty { line(to: &out) }
    }

    private mutating func line(to out: inout ByteBuffer) {
        if !isFirst { out.writeStaticString("\r\n") }
        isFirst = false
        out.writeString(Base64.encode(rest))
        rest.removeAll(keepingCapacity: true)
    }
}

/// Base64 in lines that are too long, or with octets between its letters that mean nothing: the same letters in lines of 76.
struct Base64Rewrapping: Sendable {
    private var column = 0

    /// Writes the letters.
    mutating func rewrap(_ bytes: UnsafeRawBufferPointer, to out: inout ByteBuffer) {
        for byte in bytes where Self.isOfAlphabet(byte) {
            if column == 76 {
                out.writeStaticString("\r\n")
                column = 0
            }
            out.writeInteger(byte)
            column += 1
        }
    }

    private static func isOfAlphabet(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="):
            true
        default: false
        }
    }
}
