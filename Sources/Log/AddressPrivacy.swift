// AddressPrivacy.swift — mail addresses in the log: as they are, their domain only, or a hash in place of the local part.
//
// It works on every value of every line, because replies of servers and reasons hold addresses too.

/// What becomes of the local part of each address in a log line.
package enum AddressPrivacy: Sendable {
    /// `…@example.com`
    case domain
    /// `#3f2a…@example.com`: equal addresses stay equal, which the given function decides.
    case hash(@Sendable (String) -> String)

    private static let longest = 12

    /// The text without local parts.
    package func redacted(_ text: String) -> String {
        guard text.utf8.contains(UInt8(ascii: "@")) else { return text }
        let bytes = Array(text.utf8)
        var out: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            guard byte == UInt8(ascii: "@") else {
                out.append(byte)
                continue
            }
            let local = Self.takeLocal(&out, isQuoted: index > 0 && bytes[index - 1] == UInt8(ascii: "\""))
            if !local.isEmpty {
                let end = bytes[(index + 1)...].firstIndex { !Self.isDomain($0) } ?? bytes.count
                out += cover(local, bytes[(index + 1)..<end])
            }
            out.append(byte)
        }
        return String(decoding: out, as: UTF8.self)
    }

    private func cover(_ local: [UInt8], _ domain: ArraySlice<UInt8>) -> [UInt8] {
        switch self {
        case .domain: return Array("…".utf8)
        case .hash(let hash):
            let address = (local + [UInt8(ascii: "@")] + domain).map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
            return [UInt8(ascii: "#")] + hash(String(decoding: address, as: UTF8.self)).utf8.prefix(Self.longest)
        }
    }

    /// Takes the local part off the end of what was written so far.
    private static func takeLocal(_ out: inout [UInt8], isQuoted: Bool) -> [UInt8] {
        var start = out.count
        if isQuoted {
            start -= 1
            while start > 0, out[start - 1] != UInt8(ascii: "\"") { start -= 1 }
            start = max(0, start - 1)
        } else {
            while start > 0, isLocal(out[start - 1]) { start -= 1 }
        }
        let local = Array(out[start...])
        out.removeSubrange(start...)
        return local
    }

    /// What may stand in a local part without quotes; all of UTF-8.
    private static func isLocal(_ byte: UInt8) -> Bool {
        byte >= 0x80 || isDomain(byte) || "!#$%&'*+/=?^_`{|}~".utf8.contains(byte)
    }

    private static func isDomain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), 0x80...:
            true
        default: false
        }
    }
}
