// HeaderRewriter.swift — addresses in a header replaced by others: one rule for mail by SMTP, by the API and by `sendmail`.
//
// Guarantees: only octets of addresses that somebody named change; names, comments, groups, folds and the spelling of
// everything else stay, and so does a field that cannot be read for certain. Rewriting what was rewritten changes nothing
// where the new addresses are not named themselves.
// Source: RFC 5322 §3.4, §4.4, §2.1.1

package import Mail

/// Rewrites addresses in a header.
package struct HeaderRewriter: Sendable {
    /// Who an address in a field is.
    package enum Role: Hashable, Sendable {
        /// One who sends, or whom answers and notices go to.
        case sender
        case recipient
    }

    /// What becomes of an address; nil: it stays.
    package typealias Rule = @Sendable (EmailAddress, Role) -> AddressChange?

    private static let senders: Set<String> = [
        "from", "sender", "reply-to", "return-path", "errors-to", "return-receipt-to", "disposition-notification-to",
        "resent-from", "resent-sender", "resent-reply-to",
    ]
    private static let recipients: Set<String> = ["to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc"]
    /// Octets of a line without its CRLF (RFC 5322 §2.1.1).
    private static let longestLine = 998

    private let rule: Rule
    /// Put in front of the name of a field that keeps what one said before, such as `X-Original-`; nil: nothing is kept.
    private let kept: String?

    package init(keeping kept: String? = nil, rule: @escaping Rule) {
        self.kept = kept
        self.rule = rule
    }

    /// The role of the addresses in a field; nil when it holds none that are looked at.
    ///
    /// - Parameter field: its name in lower case.
    package static func role(of field: String) -> Role? {
        // characters: names of fields are ASCII
        senders.contains(field) ? .sender : recipients.contains(field) ? .recipient : nil
    }

    /// The header with its addresses rewritten.
    ///
    /// - Parameter header: as ``HeaderBlock`` measures it, without the empty line.
    /// - Returns: nil when no address in it is named.
    package func rewrite(_ header: [UInt8]) -> [UInt8]? {
        var done: [UInt8] = []
        var copied = header.startIndex
        for field in HeaderFields(header).fields {
            guard let role = Self.role(of: field.name), let lines = rewritten(field, role) else { continue }
            done += header[copied..<field.lines.startIndex]
            done += lines
            if let kept { done += keeping(field, kept) }
            copied = field.lines.endIndex
        }
        guard copied > header.startIndex else { return nil }
        return done + header[copied...]
    }

    /// The lines of a field; nil when they stay.
    private func rewritten(_ field: HeaderFields.Field, _ role: Role) -> [UInt8]? {
        let list = AddressList(field.value)
        guard list.fault == nil else { return nil }
        var edits: [Edit] = []
        let start = field.value.startIndex - field.lines.startIndex
        for entry in list.entries {
            guard let address = entry.address, let new = rule(address, role), new.applied(to: address) != address else {
                continue
            }
            let place: Range<Int>
            let text: String
            switch new {
            case .address(let address): (place, text) = (entry.place, "\(address)")
            case .domain(let domain): (place, text) = (entry.domainPlace, domain.name)
            }
            edits.append(
                Edit(
                    place: start + place.lowerBound..<start + place.upperBound,
                    text: text,
                    address: start + entry.place.lowerBound - (entry.isBracketed ? 1 : 0)
                )
            )
        }
        guard !edits.isEmpty else { return nil }
        let lines = Array(field.lines)
        let done = Edit.apply(edits, to: lines, folding: false)
        let isTooLong = Self.longest(done) > max(Self.longestLine, Self.longest(lines))
        return isTooLong ? Edit.apply(edits, to: lines, folding: true) : done
    }

    /// What the field said, under another name.
    private func keeping(_ field: HeaderFields.Field, _ kept: String) -> [UInt8] {
        let lines = Array(field.lines)
        guard Self.longest(lines) + kept.utf8.count > Self.longestLine,
            let colon = lines.firstIndex(of: UInt8(ascii: ":"))
        else { return Array(kept.utf8) + lines }
        // Folded behind the name, where there is no room for more in the line.
        let value = lines[(colon + 1)...]
        let blank: [UInt8] = value.first == 0x20 || value.first == 0x09 ? [] : [0x20]
        return Array(kept.utf8) + lines[...colon] + [0x0D, 0x0A] + blank + value
    }

    /// Octets of the longest line, its end not counted.
    private static func longest(_ lines: [UInt8]) -> Int {
        lines.split(octet: "\n").map { $0.last == 0x0D ? $0.count - 1 : $0.count }.max() ?? 0
    }
}

/// A replacement in the lines of a field.
private struct Edit {
    let place: Range<Int>
    let text: String
    /// Where its mailbox's address begins, the bracket included: a fold may stand there.
    let address: Int

    static func apply(_ edits: [Edit], to lines: [UInt8], folding: Bool) -> [UInt8] {
        var done: [UInt8] = []
        var copied = 0
        for edit in edits {
            if folding, edit.address > copied, !isFolded(before: edit.address, in: lines) {
                done += lines[copied..<edit.address] + [0x0D, 0x0A, 0x20]
                copied = edit.address
            }
            done += lines[copied..<edit.place.lowerBound]
            done += Array(edit.text.utf8)
            copied = edit.place.upperBound
        }
        return done + lines[copied...]
    }

    /// Nothing but blanks stands in front of it in its line.
    private static func isFolded(before place: Int, in lines: [UInt8]) -> Bool {
        lines[..<place].last { $0 != 0x20 && $0 != 0x09 } == 0x0A
    }
}
