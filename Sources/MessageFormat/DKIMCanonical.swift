// DKIMCanonical.swift — the relaxed canonical forms of DKIM (RFC 6376 §3.4.2, §3.4.4), of header fields at once and of
// a body in pieces.

import OpenSSL

/// The hash of a body in its relaxed form, computed while the body arrives.
///
/// How the octets are cut into pieces makes no difference. Bound to whoever makes it.
package final class DKIMBodyHash {
    private static let block = 16 << 10

    private let digest = Digest()
    private var out: [UInt8] = []
    /// White space was seen on this line and nothing behind it.
    private var owesSpace = false
    /// Line ends that count only when something follows.
    private var owedLines = 0
    private var isEmpty = true

    package init() { out.reserveCapacity(Self.block) }

    /// Takes more of the body.
    package func update(_ bytes: UnsafeRawBufferPointer) {
        var index = 0
        while index < bytes.count {
            switch bytes[index] {
            case 0x0A:
                owesSpace = false
                owedLines &+= 1
                index += 1
            case 0x0D: index += 1
            case 0x20, 0x09:
                owesSpace = true
                index += 1
            default:
                let start = index
                while index < bytes.count, !Self.isSpecial(bytes[index]) { index += 1 }
                take(UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
            }
        }
    }

    /// The hash of everything so far.
    package func finish() -> [UInt8] {
        if !isEmpty { out += [0x0D, 0x0A] }
        flush()
        return digest.finish()
    }

    private static func isSpecial(_ byte: UInt8) -> Bool {
        byte <= 0x20 && (byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09)
    }

    private func take(_ text: UnsafeRawBufferPointer) {
        while owedLines > 0 {
            out += [0x0D, 0x0A]
            owedLines -= 1
            if out.count >= Self.block { flush() }
        }
        if owesSpace { out.append(0x20) }
        owesSpace = false
        isEmpty = false
        if out.count + text.count >= Self.block {
            flush()
            if text.count >= Self.block { return digest.update(text) }
        }
        out.append(contentsOf: text)
    }

    private func flush() {
        out.withUnsafeBytes { digest.update($0) }
        out.removeAll(keepingCapacity: true)
    }
}

/// The relaxed form of header fields.
enum DKIMHeader {
    /// `name:value` in the relaxed form, without CRLF.
    static func relaxed(_ name: String, _ value: some Sequence<UInt8>) -> [UInt8] {
        var out = Array("\(name):".utf8)
        let start = out.count
        var owesSpace = false
        for byte in value {
            switch byte {
            case 0x0D, 0x0A: continue
            case 0x20, 0x09: owesSpace = true
            default:
                if owesSpace, out.count > start { out.append(0x20) }
                owesSpace = false
                out.append(byte)
            }
        }
        return out
    }
}
