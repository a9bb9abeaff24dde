// StatusPart.swift — the part of a report for programs: message/delivery-status (RFC 3464 §2, RFC 6533 §3).
//
// It is always in seven bits: an address in UTF-8 is written with the escapes of RFC 6533 §3.

import Mail
import NIOCore

/// The fields about the message, then a group of fields per recipient.
struct StatusPart {
    private(set) var body = ByteBuffer()

    /// - Parameter report: what to say.
    init(_ report: BounceReport) {
        field("Reporting-MTA", "dns; \(report.me.name)")
        if let id = report.original.envelopeID {
            let text = HarmlessText.asciiLine(Xtext.decode(id), limit: 256)
            if !text.isEmpty { field("Original-Envelope-Id", text) }
        }
        field("Arrival-Date", MailDate.text(report.original.acceptedAt))
        for entry in report.entries {
            body.writeStaticString("\r\n")
            add(entry, now: report.now)
        }
    }

    private mutating func add(_ entry: BounceReport.Entry, now: Timestamp) {
        if let original = entry.recipient.original { addOriginal(original) }
        field("Final-Recipient", typed(entry.recipient.address))
        field("Action", entry.action.rawValue)
        field("Status", entry.status.description)
        if let remote = entry.remote {
            // `host[ip]:port` as the log writes it; the field wants the host.
            let name = remote.utf8.prefix { $0 != UInt8(ascii: "[") && $0 != UInt8(ascii: " ") }
            let host = HarmlessText.asciiLine(Substring(name), limit: 255)
            if !host.isEmpty { field("Remote-MTA", "dns; \(host)") }
        }
        let reason = HarmlessText.asciiLine(entry.reason, limit: 512)
        if !reason.isEmpty { field("Diagnostic-Code", "\(entry.remote == nil ? "x-martlet" : "smtp"); \(reason)") }
        field("Last-Attempt-Date", MailDate.text(now))
    }

    /// `ORCPT=` is `type;xtext`; one that is not is left out.
    private mutating func addOriginal(_ text: String) {
        guard let semicolon = text.firstIndex(ofOctet: ";") else { return }
        let type = text[..<semicolon]
        let isAtom = type.utf8.allSatisfy { byte in
            0x30...0x39 ~= byte || 0x41...0x5A ~= byte || 0x61...0x7A ~= byte || byte == 0x2D
        }
        let rest = text[text.utf8.index(after: semicolon)...]
        // The escapes of `utf-8` addresses are meant for this field and stay (RFC 6533 §3).
        let address =
            type.lowercasedASCII == "utf-8"
            ? Self.escaped(HarmlessText.line(rest, limit: 512), alsoASCII: false)
            : HarmlessText.asciiLine(Xtext.decode(rest), limit: 512)
        guard isAtom, !type.isEmpty, type.utf8.count <= 32, !address.isEmpty else { return }
        field("Original-Recipient", "\(type); \(address)")
    }

    private func typed(_ address: EmailAddress) -> String {
        if address.isASCII { return "rfc822; \(HarmlessText.asciiLine(address.description, limit: 512))" }
        return "utf-8; \(Self.escaped(HarmlessText.line(address.description, limit: 512), alsoASCII: true))"
    }

    /// Scalars as `\x{FC}`: those beyond ASCII, and those of ASCII that an escape could be taken for.
    private static func escaped(_ text: String, alsoASCII: Bool) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\", "+", "=":
                guard alsoASCII else { fallthrough }
                escaped += "\\x{\(String(scalar.value, radix: 16, uppercase: true))}"
            case _ where scalar.isASCII: escaped.unicodeScalars.append(scalar)
            default: escaped += "\\x{\(String(scalar.value, radix: 16, uppercase: true))}"
            }
        }
        return escaped
    }

    /// Writes a field, folded at its blanks when it is long.
    private mutating func field(_ name: String, _ value: String) {
        body.writeString("\(name):")
        var column = name.utf8.count + 1
        for word in value.split(octet: " ") {
            if column + 1 + word.utf8.count > 78, column > name.utf8.count + 1 {
                body.writeStaticString("\r\n")
                column = 0
            }
            body.writeStaticString(" ")
            body.writeSubstring(word)
            column += 1 + word.utf8.count
        }
        body.writeStaticString("\r\n")
    }
}
