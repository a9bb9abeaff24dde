// ShorterReport.swift — a report of ours once more, with no more of the message than its header: what is sent when a next hop
// refuses the whole one, because of what it brings back.

import Mail
package import NIOCore

/// Makes a report shorter.
package struct ShorterReport: Sendable {
    private var walk = MIMEWalk()
    private var cutter = Cutter()

    package init() {}

    /// Takes more of the report.
    ///
    /// - Returns: false when nothing of what follows matters.
    package mutating func take(_ bytes: ByteBuffer) -> Bool {
        bytes.withUnsafeReadableBytes { walk.consume($0, &cutter) }
        return cutter.part != .over && cutter.part != .none
    }

    /// The shorter report; nil when it was as short already, or is none of ours.
    package mutating func finish() -> ByteBuffer? {
        walk.finish(&cutter)
        guard cutter.part == .over, let boundary = cutter.boundary else { return nil }
        cutter.out.writeString("\r\n--")
        cutter.out.writeBytes(boundary)
        cutter.out.writeString("--\r\n")
        return cutter.out
    }
}

/// Copies what stands in front of the returned message.
private struct Cutter: MIMEVisitor {
    enum Part: Hashable {
        case front, message, over
        /// There is nothing to make shorter.
        case none
    }

    var part = Part.front
    var out = ByteBuffer()
    private(set) var boundary: [UInt8]?

    mutating func header(_ entity: MIMEEntity, _ fields: [HeaderFields.Field], _ lines: [UInt8]) {
        switch (part, entity.number) {
        case (.front, 0):
            boundary = entity.boundary
            if !entity.isMultipart || !entity.subtype.isSame(octets: "report") { part = .none }
        case (.front, 3) where entity.isMessage:
            part = .message
            out.writeStaticString("Content-Type: text/rfc822-headers\r\n\r\n")
        case (.front, 3): part = .none
        case (.message, _):
            part = .over
            out.writeBytes(lines)
        default: break
        }
        guard part == .front else { return }
        out.writeBytes(lines)
        out.writeStaticString("\r\n")
    }

    mutating func content(_ bytes: UnsafeRawBufferPointer, of entity: MIMEEntity) {
        if part == .front { out.writeBytes(bytes) }
    }

    mutating func contentEnded(_ entity: MIMEEntity) {}

    mutating func between(_ bytes: UnsafeRawBufferPointer, isSigned: Bool) {
        if part == .front { out.writeBytes(bytes) }
    }
}
