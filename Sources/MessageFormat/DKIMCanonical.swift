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

/// A header block taken apart into its fields.
struct DKIMFields {
    struct Field {
        /// In lower case.
        let name: String
        /// Behind the colon, folds included, without the last CRLF.
        let value: ArraySlice<UInt8>
    }

    let fields: [Field]

    /// Reads header fields up to the empty line; lines that are no fields are left out.
    init(_ header: [UInt8]) {
        var found: [Field] = []
        var start = header.startIndex
        while start < header.endIndex {
            var end = start
            // A field goes on as long as the next line begins with white space.
            repeat {
                let feed = header[end...].firstIndex(of: 0x0A) ?? header.endIndex - 1
                end = feed + 1
            } while end < header.endIndex && (header[end] == 0x20 || header[end] == 0x09)
            if let field = Self.field(header[start..<end]) { found.append(field) }
            start = end
        }
        fields = found
    }

    private static func field(_ line: ArraySlice<UInt8>) -> Field? {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex else { return nil }
        var name = line[..<colon]
        while let last = name.last, last == 0x20 || last == 0x09 { name = name.dropLast() }
        guard !name.isEmpty, name.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
        var value = line[(colon + 1)...]
        while let last = value.last, last == 0x0A || last == 0x0D { value = value.dropLast() }
        let lower = name.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
        return Field(name: String(decoding: lower, as: UTF8.self), value: value)
    }

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
