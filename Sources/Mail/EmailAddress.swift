// EmailAddress.swift — a mailbox, and the reverse path that may be empty.

/// A mailbox `local@domain`.
///
/// The local part keeps its spelling, quotes included; the domain is in normal form. Two addresses are the same when their
/// octets are: letters that look alike but are written otherwise (`é` as one scalar or two) may be two mailboxes.
///
/// - Source: RFC 5321 §4.1.2, RFC 6531 §3.3
package struct EmailAddress: Hashable, Sendable, CustomStringConvertible {
    package let local: String
    package let domain: Domain

    package init(local: String, domain: Domain) {
        self.local = local
        self.domain = domain
    }

    /// Reads `local@domain`.
    ///
    /// The local part is a dot-string or a quoted string of at most 256 octets (RFC 5321 promises 64; senders with
    /// variable envelope addresses use more). Control characters and, outside quotes, specials are refused; so is an
    /// unquoted second `@`. UTF-8 is let through: whether the session allows it is the caller's business.
    package init?(_ text: some StringProtocol) {
        let text = Substring(text)
        guard let at = text.utf8.lastIndex(of: UInt8(ascii: "@")) else { return nil }
        let local = text[..<at]
        guard Self.isLocalPart(local.utf8), let domain = Domain(text[text.utf8.index(after: at)...]) else { return nil }
        self.local = String(local)
        self.domain = domain
    }

    package var description: String {
        String(unsafeUninitializedCapacity: local.utf8.count + domain.name.utf8.count + 1) { room in
            var text = OctetWriter(UnsafeMutableRawBufferPointer(room))
            text.put(local)
            text.put(UInt8(ascii: "@"))
            text.put(domain.name)
            return min(text.count, room.count)
        }
    }

    /// False when RFC 6531 (SMTPUTF8) is needed to carry this address.
    package var isASCII: Bool { local.utf8.allSatisfy { $0 < 0x80 } }

    package static func == (a: EmailAddress, b: EmailAddress) -> Bool {
        a.domain == b.domain && a.local.utf8.elementsEqual(b.local.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(domain)
        let isDone: Void? = local.utf8.withContiguousStorageIfAvailable {
            hasher.combine(bytes: UnsafeRawBufferPointer($0))
        }
        if isDone == nil { for byte in local.utf8 { hasher.combine(byte) } }
        hasher.combine(UInt8(0xFF))
    }

    private static func isLocalPart(_ bytes: some Collection<UInt8>) -> Bool {
        guard (1...256).contains(bytes.count), let first = bytes.first else { return false }
        return first == UInt8(ascii: "\"") ? isQuoted(bytes) : isDotString(bytes)
    }

    private static func isQuoted(_ bytes: some Collection<UInt8>) -> Bool {
        guard bytes.count >= 2 else { return false }
        var escaped = false
        var closed = false
        for byte in bytes.dropFirst() {
            if closed || byte < 0x20 || byte == 0x7F { return false }
            if escaped {
                escaped = false
            } else if byte == UInt8(ascii: "\\") {
                escaped = true
            } else if byte == UInt8(ascii: "\"") {
                closed = true
            }
        }
        return closed
    }

    private static func isDotString(_ bytes: some Collection<UInt8>) -> Bool {
        var previous = UInt8(ascii: ".")
        for byte in bytes {
            if byte == UInt8(ascii: ".") {
                if previous == byte { return false }
            } else if !isAtomText(byte) {
                return false
            }
            previous = byte
        }
        return previous != UInt8(ascii: ".")
    }

    /// RFC 5322 §3.2.3 `atext`, and RFC 6531's UTF-8.
    private static func isAtomText(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), 0x80...0xFF:
            true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "/"),
            UInt8(ascii: "="), UInt8(ascii: "?"), UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"),
            UInt8(ascii: "{"), UInt8(ascii: "|"), UInt8(ascii: "}"), UInt8(ascii: "~"):
            true
        default:
            false
        }
    }
}

/// Who a bounce goes to: nobody for `MAIL FROM:<>`.
///
/// - Source: RFC 5321 §4.5.5
package enum ReversePath: Hashable, Sendable, CustomStringConvertible {
    case null
    case address(EmailAddress)

    /// The address without angle brackets; empty for the null sender.
    package var description: String {
        switch self {
        case .null: ""
        case .address(let address): address.description
        }
    }
}
