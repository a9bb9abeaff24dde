// MailReportReader.swift — finds the part of a message that was written for a machine, and reads it.
//
// Guarantees: how the octets are cut makes no difference; memory is bounded by the part (64 KiB) and one header, whatever the
// message is; at most 1 MiB is looked at; a report inside of the message that a report is about counts for nothing. Lenient in
// what surrounds the part, since a list's footer or a virus scanner's wrapping is no reason to lose a bounce.

import Mail

/// Reads one message.
package struct MailReportReader: Sendable {
    /// Octets that are looked at; behind them nothing is read.
    package static let mostOctets = 1 << 20

    private var walk = MIMEWalk()
    private var parts = ReportParts()
    private var octets = 0

    package init() {}

    /// Everything that counts was seen; more need not come.
    package var hasAll: Bool { parts.isOver || walk.fault != nil || octets >= Self.mostOctets }

    /// Takes more of the message.
    package mutating func consume(_ bytes: UnsafeRawBufferPointer) {
        guard !hasAll else { return }
        let piece = UnsafeRawBufferPointer(rebasing: bytes.prefix(Self.mostOctets - octets))
        octets += piece.count
        walk.consume(piece, &parts)
    }

    /// The message is over, or as much of it as matters.
    ///
    /// - Throws: why it is no report.
    package mutating func finish() throws(MailReport.Fault) -> MailReport {
        let isCut = octets >= Self.mostOctets
        if !isCut { walk.finish(&parts) }
        if let fault = parts.fault { throw fault }
        guard let kind = parts.kind else {
            if walk.fault != nil { throw .tooComplex }
            throw isCut ? .tooLong : .noReport
        }
        guard parts.isRead || !isCut else { throw .tooLong }
        switch kind {
        case .delivery: return .delivery(try DeliveryReport(parts.text))
        case .feedback: return .feedback(try FeedbackReport(parts.text, header: parts.original))
        }
    }
}

/// Keeps the parts that count.
private struct ReportParts: MIMEVisitor, Sendable {
    enum Kind: Sendable {
        case delivery, feedback
    }

    private static let mostParts = 30
    private static let mostText = 64 << 10

    private(set) var kind: Kind?
    private(set) var fault: MailReport.Fault?
    /// The header of the message that it is about, as far as it is there.
    private(set) var original: [UInt8] = []
    /// The machine's part is complete.
    private(set) var isRead = false
    /// Nothing more matters.
    private(set) var isOver = false
    private var raw: [UInt8] = []
    private var encoding: String?
    private var number: Int?
    private var count = 0
    /// The next header is that of the message that it is about.
    private var awaitsOriginal = false
    /// The number of the part that holds such a header as its text.
    private var headerPart: Int?

    /// The machine's part, decoded.
    var text: [UInt8] {
        switch encoding {
        case "base64": Base64.decode(raw.filter { $0 > 0x20 }) ?? []
        case "quoted-printable": Self.unquoted(raw)
        default: raw
        }
    }

    mutating func header(_ entity: MIMEEntity, _ fields: [HeaderFields.Field], _ lines: [UInt8]) {
        guard !isOver else { return }
        count += 1
        if count > Self.mostParts { return stop(.tooComplex) }
        if awaitsOriginal {
            original = Array(lines.prefix(Self.mostText))
            isOver = true
        } else if entity.number == 0 {
            // A report is never the whole message: its text for people comes first.
            if entity.type != "multipart" { stop(.noReport) }
        } else if kind == nil, entity.type == "message", let found = Self.kind(entity.subtype) {
            (kind, number, encoding) = (found, entity.number, entity.encoding)
        } else if entity.type == "message", ["rfc822", "global", "news"].contains(entity.subtype) {
            // What is in there is somebody else's.
            if kind == nil { return stop(.noReport) }
            if entity.isMessage { awaitsOriginal = true } else { isOver = true }
        } else if kind != nil, ["rfc822-headers", "global-headers"].contains(entity.subtype) {
            headerPart = entity.number
        }
    }

    mutating func content(_ bytes: UnsafeRawBufferPointer, of entity: MIMEEntity) {
        guard !isOver else { return }
        if entity.number == number {
            guard raw.count + bytes.count <= Self.mostText else { return stop(.tooLong) }
            raw += bytes
        } else if entity.number == headerPart {
            original += bytes.prefix(max(0, Self.mostText - original.count))
        }
    }

    mutating func contentEnded(_ entity: MIMEEntity) {
        if entity.number == number {
            isRead = true
            // The rest tells nothing of a delivery.
            if kind == .delivery { isOver = true }
        }
        if entity.number == headerPart { isOver = true }
    }

    mutating func between(_ bytes: UnsafeRawBufferPointer, isSigned: Bool) {
        // A part without text has no content that could end.
        if number != nil { isRead = true }
    }

    private mutating func stop(_ fault: MailReport.Fault) {
        self.fault = fault
        isOver = true
    }

    private static func kind(_ subtype: String) -> Kind? {
        switch subtype {
        case "delivery-status", "global-delivery-status": .delivery
        case "feedback-report": .feedback
        default: nil
        }
    }

    /// RFC 2045 §6.7; what is no escape stays as it is.
    private static func unquoted(_ raw: [UInt8]) -> [UInt8] {
        var (out, place): ([UInt8], Int) = ([], 0)
        func digit(_ at: Int) -> UInt8? {
            guard raw.indices.contains(at) else { return nil }
            return switch raw[at] {
            case 0x30...0x39: raw[at] - 0x30
            case 0x41...0x46: raw[at] - 0x37
            case 0x61...0x66: raw[at] - 0x57
            default: nil
            }
        }
        while place < raw.count {
            guard raw[place] == UInt8(ascii: "=") else {
                out.append(raw[place])
                place += 1
                continue
            }
            if let high = digit(place + 1), let low = digit(place + 2) {
                out.append(high << 4 | low)
                place += 3
            } else if let feed = raw[place...].firstIndex(of: 0x0A), feed <= place + 2 {
                place = feed + 1
            } else {
                out.append(raw[place])
                place += 1
            }
        }
        return out
    }
}
