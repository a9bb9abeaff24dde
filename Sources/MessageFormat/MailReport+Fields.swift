// MailReport+Fields.swift — the fields of reports (RFC 3464 §2.2, §2.3; RFC 5965 §3), read as leniently as they are written.
//
// Groups stand behind empty lines; hosts that forget those, or that write the recipient's name in brackets, are understood all
// the same. What is kept of a text is printable and bounded.

import Mail

extension DeliveryReport {
    /// - Throws: `nobody`, `tooComplex`.
    init(_ text: [UInt8]) throws(MailReport.Fault) {
        var current = Draft()
        for group in ReportFields.groups(text) {
            for field in group {
                if field.name == "reporting-mta" {
                    reporter = ReportFields.typed(field)
                    continue
                }
                // The next one begins, although no empty line says so.
                if current.isBegun(by: field.name) { try end(&current) }
                current.take(field)
            }
            try end(&current)
        }
        guard !recipients.isEmpty else { throw .nobody }
    }

    private mutating func end(_ draft: inout Draft) throws(MailReport.Fault) {
        defer { draft = Draft() }
        guard let recipient = draft.recipient else { return }
        guard recipients.count < Self.most else { throw .tooComplex }
        recipients.append(recipient)
    }

    /// One recipient while its fields come.
    private struct Draft {
        private var final: EmailAddress?
        private var original: EmailAddress?
        private var action: Action?
        private var status: EnhancedStatus?
        private var diagnostic: String?
        private var remote: String?
        private var names: Set<String> = []

        func isBegun(by name: String) -> Bool {
            ["final-recipient", "original-recipient"].contains(name) && names.contains(name)
        }

        mutating func take(_ field: HeaderFields.Field) {
            names.insert(field.name)
            switch field.name {
            case "final-recipient": final = final ?? ReportFields.address(field)
            case "original-recipient": original = original ?? ReportFields.address(field)
            case "action": action = action ?? Action(rawValue: ReportFields.word(field))
            case "status": status = status ?? EnhancedStatus(leading: Substring(ReportFields.line(field)).trimmed.utf8)
            case "diagnostic-code": diagnostic = diagnostic ?? ReportFields.typed(field, atMost: 512)
            case "remote-mta": remote = remote ?? ReportFields.typed(field)
            default: break
            }
        }

        /// nil: the group was about nobody.
        var recipient: Recipient? {
            // characters: names of fields are ASCII
            guard names.contains("final-recipient") || names.contains("original-recipient"),
                action != nil || status != nil
            else { return nil }
            return Recipient(
                final: final,
                original: original,
                action: action,
                status: status,
                reply: reply,
                remote: remote
            )
        }

        private var reply: Reply {
            let said = diagnostic.flatMap { Reply(line: $0) }
            // What failed for good is told as such, also where the last answer was one for the time being.
            let level = status?.class ?? said.map { UInt8($0.code / 100) } ?? 5
            let code: UInt16 = level == 4 ? 450 : level == 2 ? 250 : 550
            guard let said, said.code / 100 == UInt16(level) else {
                return Reply(code, status, said?.lines.joined(separator: " ") ?? diagnostic ?? "")
            }
            return Reply(said.code, said.status ?? status, lines: said.lines)
        }
    }
}

extension FeedbackReport {
    /// - Parameter header: of the message that it is about, as far as it is there.
    /// - Throws: `noReport` where it does not say what it is.
    init(_ text: [UInt8], header: [UInt8]) throws(MailReport.Fault) {
        for field in ReportFields.groups(text).joined() {
            switch field.name {
            case "feedback-type" where kind.isEmpty: kind = ReportFields.word(field)
            case "user-agent": agent = agent ?? HarmlessText.line(ReportFields.line(field), limit: 128)
            case "original-mail-from": add(ReportFields.address(field), to: \.senders)
            case "original-rcpt-to": add(ReportFields.address(field), to: \.recipients)
            default: break
            }
        }
        guard !kind.isEmpty else { throw .noReport }
        for field in HeaderFields(header).fields where field.name == "return-path" {
            add(ReportFields.address(field), to: \.senders)
        }
    }

    private mutating func add(_ address: EmailAddress?, to list: WritableKeyPath<FeedbackReport, [EmailAddress]>) {
        guard let address, self[keyPath: list].count < Self.most else { return }
        self[keyPath: list].append(address)
    }
}

/// How fields of reports are written.
private enum ReportFields {
    /// The fields between empty lines; groups without any are left out.
    static func groups(_ text: [UInt8]) -> [[HeaderFields.Field]] {
        var (groups, lines): ([[HeaderFields.Field]], [UInt8]) = ([], [])
        func end() {
            let fields = HeaderFields(lines).fields
            if !fields.isEmpty { groups.append(fields) }
            lines.removeAll(keepingCapacity: true)
        }
        for line in text.split(separator: 0x0A, omittingEmptySubsequences: false) {
            if line.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) {
                end()
            } else {
                lines += line
                lines.append(0x0A)
            }
        }
        end()
        return groups
    }

    /// The value in one line.
    static func line(_ field: HeaderFields.Field, atMost limit: Int = 998) -> String {
        HarmlessText.line(String(decoding: field.value, as: UTF8.self), limit: limit)
    }

    /// The first word in small letters, without a comment behind it.
    static func word(_ field: HeaderFields.Field) -> String {
        let line = line(field, atMost: 64)
        let end = line.utf8.firstIndex { [0x20, UInt8(ascii: "("), UInt8(ascii: ";")].contains($0) }
        return line[..<(end ?? line.endIndex)].lowercasedASCII
    }

    /// What stands behind `dns;` or `smtp;`.
    static func typed(_ field: HeaderFields.Field, atMost limit: Int = 255) -> String? {
        let line = line(field)
        let rest = line.firstIndex(ofOctet: ";").map { line[line.utf8.index(after: $0)...] } ?? line[...]
        let text = HarmlessText.line(rest, limit: limit)
        return text.isEmpty ? nil : text
    }

    /// The address behind `rfc822;`, in brackets or not.
    static func address(_ field: HeaderFields.Field) -> EmailAddress? {
        let line = line(field)
        var text = (line.firstIndex(ofOctet: ";").map { line[line.utf8.index(after: $0)...] } ?? line[...]).trimmed
        if let open = text.firstIndex(ofOctet: "<"), let close = text.lastIndex(ofOctet: ">"), open < close {
            text = text[text.utf8.index(after: open)..<close]
        }
        return EmailAddress(text)
    }
}
