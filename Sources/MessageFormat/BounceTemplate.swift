// BounceTemplate.swift — the words of a failure report: `outbound.bounce_message` with its fields filled.
//
// The fields are those of `BounceField`: the source document's {pid} {date} {me} {from} {msgid} {to} {reason}, and those of
// later Haraka. A value is put in once and never read again, so a reason that says `{from}` stays just that.
//
// A template that comes from Haraka begins with a header block of its own. The header is ours (it must match the MIME
// structure), so that block is taken off; its Subject is kept.

import Mail

/// A text with fields in braces.
package struct BounceTemplate: Hashable, Sendable {
    private let text: String

    /// Takes any text; fields that are not known stay as they are, line ends may be of any kind.
    package init(_ text: String) { self.text = text }

    /// The values of the fields, each already harmless: one line, or lines of our own, without control characters.
    struct Values {
        var pid: Int32
        var date: String
        var me: String
        var from: String
        var msgid: String
        var to: String
        var reason: String
        /// Made when a text asks for it, as the next two.
        var recipients: () -> String
        var subject: () -> String
        /// A line for each recipient.
        var extendedReason: () -> String

        func value(of field: some StringProtocol) -> String? {
            switch BounceField(rawValue: String(field)) {
            case .pid: "\(pid)"
            case .date: date
            case .me: me
            case .from: from
            case .msgid: msgid
            case .to: to
            case .reason: reason
            case .recipients: recipients()
            case .subject: subject()
            case .extendedReason: extendedReason()
            case nil: nil
            }
        }
    }

    /// The text with its fields filled, as lines without their ends, and the subject of its header block if it has one.
    func fill(_ values: Values) -> (subject: String?, lines: [String]) {
        // characters: whatever ends a line for people; a mark never becomes one with a line end
        var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        while lines.last?.isEmpty == true { lines.removeLast() }
        var subject: String?
        if let end = Self.headerBlock(lines) {
            subject = lines[..<end].first { $0.lowercasedASCII.starts(withOctets: "subject:") }.map { line in
                HarmlessText.line(fill(line.dropping(octets: "subject:".utf8.count), values), limit: 200)
            }
            lines.removeSubrange(...end)
        }
        return (subject, lines.flatMap { fill($0, values).split(octet: "\n", omittingEmpty: false).map(String.init) })
    }

    /// The index of the empty line behind a header block: From, To and Subject are there, and text follows.
    private static func headerBlock(_ lines: [Substring]) -> Int? {
        guard let end = lines.firstIndex(where: \.isEmpty) else { return nil }
        let block = lines[..<end].map { $0.lowercasedASCII }
        let isHeader = block.allSatisfy { line in
            if line.starts(withOctets: " ") || line.starts(withOctets: "\t") { return true }
            guard let colon = line.utf8.firstIndex(of: 0x3A) else { return false }
            return line.utf8[..<colon].allSatisfy { 0x61...0x7A ~= $0 || 0x30...0x39 ~= $0 || $0 == 0x2D }
        }
        let isFull = ["from:", "to:", "subject:"].allSatisfy { name in
            block.contains { $0.starts(withOctets: name) }
        }
        return isHeader && isFull ? end : nil
    }

    private func fill(_ line: Substring, _ values: Values) -> String {
        var result = ""
        var rest = line
        while let open = rest.firstIndex(ofOctet: "{") {
            result += rest[..<open]
            let after = rest.utf8.index(after: open)
            guard let close = rest[after...].firstIndex(ofOctet: "}"), let value = values.value(of: rest[after..<close])
            else {
                result += "{"
                rest = rest[after...]
                continue
            }
            result += value
            rest = rest[rest.utf8.index(after: close)...]
        }
        return result + rest
    }

    /// What a sender reads when the configuration has no text of its own.
    package static let failure = BounceTemplate(
        """
        This is the mail system at {me}.

        Your message could not be delivered to the address below, and it will not be tried again.

            Recipient: {to}
            Reason:    {reason}

        Sender:  {from}
        Message: {msgid}
        Date:    {date}

        A report for programs follows, and then your message as far as it may be returned.
        """
    )

    /// For NOTIFY=DELAY.
    static let delay = BounceTemplate(
        """
        This is the mail system at {me}.

        Your message could not be delivered to the address below yet. It is kept and tried again:
        there is nothing for you to do.

            Recipient: {to}
            Reason:    {reason}

        Sender:  {from}
        Message: {msgid}
        Date:    {date}
        """
    )

    /// For NOTIFY=SUCCESS.
    static let success = BounceTemplate(
        """
        This is the mail system at {me}.

        Your message was handed over for the address below, as you asked to be told.

            Recipient: {to}
            Reply:     {reason}

        Sender:  {from}
        Message: {msgid}
        Date:    {date}
        """
    )

    /// For a postmaster, about a report that reached nobody.
    static let lostReport = BounceTemplate(
        """
        This is the mail system at {me}.

        A report could not be delivered to the sender of the message that it is about, who has not heard of it.

            Sender:  {to}
            Reason:  {reason}
            Report:  {msgid}
            Date:    {date}

        The report follows. This is sent to you because `postmaster` in outbound.ini names you.
        """
    )
}
