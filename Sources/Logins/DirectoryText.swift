// DirectoryText.swift — values that stand in a filter or a DN: harmless there, whatever octets they hold. Pure.

import Mail

/// Escapes.
enum DirectoryText {
    /// A value in a filter: what means something there, NUL, and everything that is no ASCII is `\XX`.
    ///
    /// - Source: RFC 4515 §3
    static func inFilter(_ value: [UInt8]) -> [UInt8] {
        value.flatMap { byte -> [UInt8] in
            switch byte {
            case UInt8(ascii: "*"), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "\\"), 0x00..<0x20, 0x7F...0xFF:
                pair(byte)
            default: [byte]
            }
        }
    }

    /// A value in a DN: everything but letters, digits and a few harmless octets is `\XX`.
    ///
    /// - Source: RFC 4514 §2.4
    static func inName(_ value: [UInt8]) -> [UInt8] {
        value.flatMap { byte -> [UInt8] in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "@"), UInt8(ascii: "."), UInt8(ascii: "-"),
                UInt8(ascii: "_"):
                [byte]
            default: pair(byte)
            }
        }
    }

    private static func pair(_ byte: UInt8) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return [UInt8(ascii: "\\"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }
}
