// Authors.swift — who a message says it is from: the mailboxes of its From field (RFC 5322 §3.4, §3.6.2).
//
// It decides whose key signs, and whether a login may say so. Comments, quoted names and groups are understood; what is
// no address stays visible as such, so that nobody takes it for one that is allowed.

package import Mail

/// A mailbox of a `From` field, as far as it decides anything.
package struct Author: Hashable, Sendable {
    /// Without quotes and what they hold.
    package let local: [UInt8]
    package let domain: Domain
}

/// The authors of a message.
package struct Authors: Hashable, Sendable {
    /// In order; nil for something that is no address.
    package let mailboxes: [Author?]
    /// `From` fields; one is right.
    package let fieldCount: Int

    /// Reads them from a header.
    package init(of header: [UInt8]) {
        let from = DKIMFields(header).fields.filter { $0.name == "from" }
        fieldCount = from.count
        mailboxes = from.flatMap { Self.mailboxes(Array($0.value)) }
    }

    /// The domain whose key signs: that of the only `From` field; of several mailboxes, the first counts.
    ///
    /// Nil when there is no such field, more than one, or no domain in it.
    package var signingDomain: Domain? { fieldCount == 1 ? mailboxes.first?.map(\.domain) : nil }

    /// `"Name" (comment) <local@domain>, …`, `Group: a@b, c@d;` or `local@domain`.
    static func mailboxes(_ text: [UInt8]) -> [Author?] {
        var scan = MailboxScan()
        for byte in text where byte != 0x0D && byte != 0x0A { scan.take(byte) }
        scan.end()
        return scan.found
    }
}

/// A list of mailboxes while it is read.
private struct MailboxScan {
    private(set) var found: [Author?] = []
    private var plain: [UInt8] = []
    private var angle: [UInt8]?
    private var isInAngle = false
    private var depth = 0
    private var isQuoted = false
    private var isEscaped = false

    mutating func take(_ byte: UInt8) {
        if isEscaped {
            isEscaped = false
            return
        }
        switch byte {
        case UInt8(ascii: "\\") where isQuoted || depth > 0: isEscaped = true
        case UInt8(ascii: "\"") where depth == 0: isQuoted.toggle()
        case _ where isQuoted: break
        case UInt8(ascii: "("): depth += 1
        case UInt8(ascii: ")") where depth > 0: depth -= 1
        case _ where depth > 0: break
        case UInt8(ascii: "<") where !isInAngle: (angle, isInAngle) = ([], true)
        case UInt8(ascii: ">"): isInAngle = false
        case UInt8(ascii: ",") where !isInAngle:
            // A name with a comma and without quotes is no mailbox yet.
            if angle != nil || plain.contains(UInt8(ascii: "@")) { end() } else { plain = [] }
        // A group's name: what counts comes behind it.
        case UInt8(ascii: ":") where !isInAngle: plain = []
        case UInt8(ascii: ";") where !isInAngle: end()
        case _ where isInAngle: angle?.append(byte)
        default: if angle == nil { plain.append(byte) }
        }
    }

    /// A mailbox has ended, or nothing has.
    mutating func end() {
        let address = (angle ?? plain).filter { $0 != 0x20 && $0 != 0x09 }
        let isNothing = angle == nil && address.isEmpty
        (plain, angle, isInAngle) = ([], nil, false)
        if isNothing { return }
        guard let at = address.lastIndex(of: UInt8(ascii: "@")),
            let text = String(validating: address[(at + 1)...], as: UTF8.self),
            let domain = Domain(text)
        else { return found.append(nil) }
        // A source route (RFC 5322 §4.4) is no part of the address.
        let local = address[..<at]
        let start = local.lastIndex(of: UInt8(ascii: ":")).map { $0 + 1 } ?? local.startIndex
        found.append(Author(local: Array(local[start...]), domain: domain))
    }
}
