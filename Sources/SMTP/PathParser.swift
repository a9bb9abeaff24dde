// PathParser.swift — `<local@domain>` in MAIL and RCPT (RFC 5321 §4.1.2).
//
// Nearly all addresses are a dot-string and letters, digits and hyphens; those are checked and copied in one go. The
// others (quotes, literals, UTF-8) go through the general parser of the noun, which decides.

import Mail

enum PathParser {
    /// Takes `<…>` and the spaces behind it off the front.
    ///
    /// - Returns: what stands between the brackets without a source route (RFC 5321 appendix C); nil when there is no
    ///   closing bracket outside quotes, or no space between it and what follows.
    static func takePath(_ rest: inout Text) -> Text? {
        guard rest.first == UInt8(ascii: "<"), let end = closingBracket(rest) else { return nil }
        let path = rest.range(1..<end)
        let next = rest.dropping(end + 1)
        guard next.isEmpty || next.first == 0x20 else { return nil }
        rest = next
        guard path.first == UInt8(ascii: "@") else { return path }
        return withoutRoute(path)
    }

    static func address(_ path: Text) -> EmailAddress? {
        plainAddress(path) ?? path.validString.flatMap { EmailAddress($0) }
    }

    /// Where the bracket is closed that the text begins with.
    static func closingBracket(_ text: Text) -> Int? {
        var isQuoted = false
        var offset = 1
        while offset < text.count {
            switch text[offset] {
            case UInt8(ascii: "\\") where isQuoted: offset += 1
            case UInt8(ascii: "\""): isQuoted.toggle()
            case UInt8(ascii: ">") where !isQuoted: return offset
            default: break
            }
            offset += 1
        }
        return nil
    }

    /// `@a.example,@b.example:local@domain` → `local@domain`.
    private static func withoutRoute(_ path: Text) -> Text? {
        guard let colon = path.firstOffset(of: UInt8(ascii: ":")) else { return nil }
        var hosts: Text? = path.prefix(colon)
        while let list = hosts {
            let comma = list.firstOffset(of: UInt8(ascii: ","))
            let host = comma.map { list.prefix($0) } ?? list
            hosts = comma.map { list.dropping($0 + 1) }
            guard host.first == UInt8(ascii: "@"), let name = host.dropping(1).validString, Domain(name) != nil else {
                return nil
            }
        }
        let address = path.dropping(colon + 1)
        return address.isEmpty ? nil : address
    }

    /// The common form, or nil: not that it is wrong, only that it is not common.
    private static func plainAddress(_ path: Text) -> EmailAddress? {
        var at = 0
        var previous = UInt8(ascii: ".")
        while at < path.count {
            let byte = path[at]
            if byte == UInt8(ascii: "@") { break }
            guard isAtomText(byte) ? true : byte == UInt8(ascii: ".") && previous != byte else { return nil }
            previous = byte
            at += 1
        }
        guard at > 0, at <= 256, at < path.count, previous != UInt8(ascii: ".") else { return nil }
        let name = path.dropping(at + 1)
        guard isPlainDomain(name) else { return nil }
        let domain = String(unsafeUninitializedCapacity: name.count) { buffer in
            for offset in 0..<name.count {
                let byte = name[offset]
                buffer[offset] = (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
            }
            return name.count
        }
        return EmailAddress(local: path.prefix(at).string, domain: Domain(unchecked: domain))
    }

    private static func isPlainDomain(_ name: Text) -> Bool {
        guard (1...253).contains(name.count) else { return false }
        var label = 0
        var previous = UInt8(ascii: ".")
        for offset in 0..<name.count {
            let byte = name[offset]
            switch byte {
            case UInt8(ascii: "."):
                guard label > 0, previous != UInt8(ascii: "-") else { return false }
                label = 0
            case UInt8(ascii: "-"):
                guard label > 0 else { return false }
                label += 1
            case 0x41...0x5A, 0x61...0x7A, 0x30...0x39, UInt8(ascii: "_"): label += 1
            default: return false
            }
            guard label <= 63 else { return false }
            previous = byte
        }
        return label > 0 && previous != UInt8(ascii: "-")
    }

    /// RFC 5322 §3.2.3 `atext`, as two sets of bits for the octets below and above 64.
    static func isAtomText(_ byte: UInt8) -> Bool {
        // ! # $ % & ' * + - / 0-9 = ?
        let low: UInt64 = 0xA3FF_ACFA_0000_0000
        // A-Z ^ _ ` a-z { | } ~
        let high: UInt64 = 0x7FFF_FFFF_C7FF_FFFE
        guard byte < 0x80 else { return false }
        return (byte < 64 ? low : high) >> UInt64(byte & 63) & 1 == 1
    }
}
