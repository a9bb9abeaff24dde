// SevenBitPlan.swift — how a message becomes one of seven bits and short lines, as a next hop without 8BITMIME needs it
// (RFC 6152 §3, RFC 2045): which parts are encoded, which headers are rewritten, or why it cannot be.
//
// The message is gone through once for the plan; `SevenBitWriter` follows it. Nothing of the message is kept.

import Glibc
import Mail
package import NIOCore

/// What is to be done to a message.
package struct SevenBitPlan: Sendable {
    /// Why a message must stay as it is.
    package enum Obstacle: Hashable, Sendable, CustomStringConvertible {
        /// A DKIM or ARC signature that is not ours, of this domain.
        case signature(of: String)
        /// A part of a multipart/signed is wide.
        case signedPart
        /// A part that must not be encoded is wide: message/partial and the like.
        case part(String)
        /// A part is wide that says it is encoded in a way that nobody knows here.
        case encoding(String)
        case tooComplex

        /// Behind “it cannot be converted:”.
        package var description: String {
            switch self {
            case .signature(let domain): "it is signed by \(domain)"
            case .signedPart: "a part of it is signed"
            case .part(let type): "its part \(type) must not be encoded"
            case .encoding(let name): "the encoding \(name) of a part is unknown"
            case .tooComplex: "it has too many parts"
            }
        }
    }

    /// What is wanted.
    package struct Wish: Hashable, Sendable {
        /// Lines beyond 998 octets are broken as well.
        package var breaksLines: Bool
        /// Octets above 127 may stay: only lines are broken.
        package var keepsEightBit: Bool
        /// It is for a person to read: signatures, which break, do not matter.
        package var isCopy: Bool
        /// Octets at the beginning that the relay wrote: signatures in them are its own.
        package var ownOctets: Int

        package init(breaksLines: Bool, keepsEightBit: Bool = false, isCopy: Bool = false, ownOctets: Int = 0) {
            self.breaksLines = breaksLines
            self.keepsEightBit = keepsEightBit
            self.isCopy = isCopy
            self.ownOctets = ownOctets
        }
    }

    /// What becomes of one part.
    enum Change: UInt8, Sendable {
        case keep
        /// Its content is kept, and is called 7bit.
        case relabel
        case quote
        case base64
        case mendQuoted
        case rewrapBase64

        /// The value of Content-Transfer-Encoding; nil: it stays.
        var label: StaticString? {
            switch self {
            case .keep, .mendQuoted, .rewrapBase64: nil
            case .relabel: "7bit"
            case .quote: "quoted-printable"
            case .base64: "base64"
            }
        }
    }

    /// Octets that a line may have without its end (RFC 5322 §2.1.1).
    static let mostColumns = 998

    /// Whether some line is longer than RFC 5322 §2.1.1 allows; at the speed of memory.
    package static func hasLongLine(_ bytes: ByteBuffer) -> Bool {
        bytes.withUnsafeReadableBytes { bytes in
            var start = 0
            while let base = bytes.baseAddress, bytes.count - start > mostColumns {
                guard let end = memchr(base + start, 0x0A, bytes.count - start) else { return true }
                let next = UnsafeRawPointer(end) - base + 1
                // Its CR and LF are none of the 998.
                if next - start > mostColumns + 2 { return true }
                start = next
            }
            return false
        }
    }

    package let wish: Wish
    private var walk = MIMEWalk()
    private var surveyor: Surveyor
    /// Set when the message was gone through.
    package private(set) var obstacle: Obstacle?

    package init(_ wish: Wish) {
        self.wish = wish
        surveyor = Surveyor(wish: wish)
    }

    /// Takes more of the message.
    package mutating func look(at bytes: ByteBuffer) {
        bytes.withUnsafeReadableBytes { walk.consume($0, &surveyor) }
    }

    /// The message was gone through.
    package mutating func finish() {
        walk.finish(&surveyor)
        obstacle = walk.fault == nil ? surveyor.needsWork ? surveyor.obstacle : nil : .tooComplex
    }

    /// Something has to be done.
    package var isNeeded: Bool { surveyor.needsWork || walk.fault != nil }

    /// The part's content was all text of UTF-8, as far as it was not ASCII.
    func isUTF8(_ part: Int) -> Bool { !surveyor.otherCharsets.contains(part) }

    /// Some part is encoded that was not.
    var encodes: Bool {
        surveyor.changes.contains { change in
            switch change {
            case .quote, .base64: true
            case .keep, .relabel, .mendQuoted, .rewrapBase64: false
            }
        }
    }

    func change(_ part: Int) -> Change { part < surveyor.changes.count ? surveyor.changes[part] : .keep }
}

/// Looks at every part.
private struct Surveyor: MIMEVisitor {
    let wish: SevenBitPlan.Wish
    var changes: [SevenBitPlan.Change] = []
    /// Parts whose content is no UTF-8.
    var otherCharsets: Set<Int> = []
    var needsWork = false
    var obstacle: SevenBitPlan.Obstacle?
    private var content = ContentCount()
    private var around = ContentCount()

    init(wish: SevenBitPlan.Wish) { self.wish = wish }

    mutating func header(_ entity: MIMEEntity, _ fields: [HeaderFields.Field], _ lines: [UInt8]) {
        content = ContentCount()
        var count = ContentCount()
        lines.withUnsafeBytes { count.add($0) }
        let isWide = isWide(count)
        if isWide { needsWork = true }
        if isWide, entity.isSigned { hinder(.signedPart) }
        if let boundary = entity.boundary, boundary.contains(where: { $0 > 126 }) { hinder(.tooComplex) }
        // Parts tell by their contents what they need; what holds parts may only be called by another name.
        let holdsParts = entity.isMultipart || entity.isMessage
        let isRelabelled = holdsParts && entity.isLabelledWide && !entity.isSigned && !wish.keepsEightBit
        changes.append(isRelabelled ? .relabel : .keep)
        guard entity.number == 0 else { return }
        for field in fields where field.lines.startIndex - lines.startIndex >= wish.ownOctets {
            if let domain = Self.signer(field) { hinder(.signature(of: domain)) }
        }
    }

    mutating func content(_ bytes: UnsafeRawBufferPointer, of entity: MIMEEntity) { content.add(bytes) }

    mutating func contentEnded(_ entity: MIMEEntity) {
        guard isWide(content) else {
            if entity.isLabelledWide, !entity.isSigned, !wish.keepsEightBit { changes[entity.number] = .relabel }
            return
        }
        needsWork = true
        if entity.isSigned { hinder(.signedPart) }
        if !content.isUTF8 { otherCharsets.insert(entity.number) }
        changes[entity.number] = change(of: entity)
    }

    mutating func between(_ bytes: UnsafeRawBufferPointer, isSigned: Bool) {
        around.add(bytes)
        guard isWide(around) else { return }
        around = ContentCount()
        needsWork = true
        if isSigned { hinder(.signedPart) }
    }

    private mutating func change(of entity: MIMEEntity) -> SevenBitPlan.Change {
        switch entity.encoding {
        case "quoted-printable": return .mendQuoted
        case "base64": return .rewrapBase64
        case let name where !entity.isIdentity:
            hinder(.encoding(name.map { HarmlessText.asciiLine($0, limit: 40) } ?? ""))
            return .keep
        default: break
        }
        // RFC 6532 §3.7, RFC 6533 §6: of all messages in messages only these may be encoded.
        let isGlobal = ["global", "global-headers", "global-delivery-status"].contains {
            $0.isSame(octets: entity.subtype)
        }
        if entity.type == "multipart" || entity.type == "message" && !isGlobal {
            hinder(.part(HarmlessText.asciiLine("\(entity.type)/\(entity.subtype)", limit: 60)))
            return .keep
        }
        guard entity.type == "text" || entity.type == "message" else { return .base64 }
        // Three octets for one, or four for three; text that can be read without decoding is worth some.
        return content.octets > 1000 && 3 * content.escaped > content.octets ? .base64 : .quote
    }

    private func isWide(_ count: ContentCount) -> Bool {
        count.hasWide && !wish.keepsEightBit || wish.breaksLines && count.longest > SevenBitPlan.mostColumns
    }

    private mutating func hinder(_ obstacle: SevenBitPlan.Obstacle) {
        if wish.isCopy {
            switch obstacle {
            case .signature, .signedPart: return
            case .part, .encoding, .tooComplex: break
            }
        }
        if self.obstacle == nil { self.obstacle = obstacle }
    }

    /// The domain of a signature over the message; nil for another field.
    private static func signer(_ field: HeaderFields.Field) -> String? {
        guard field.name == "dkim-signature" || field.name == "arc-message-signature" else { return nil }
        for tag in field.value.split(octet: ";") {
            let text = tag.filter { $0 > 0x20 }
            guard text.starts(with: [UInt8(ascii: "d"), UInt8(ascii: "=")]) else { continue }
            return HarmlessText.asciiLine(String(decoding: text.dropFirst(2), as: UTF8.self), limit: 255)
        }
        return "an unknown domain"
    }
}

/// What some octets would cost.
private struct ContentCount {
    private(set) var octets = 0
    /// Octets that quoted-printable writes as three: those beyond ASCII, which are all that matter.
    private(set) var escaped = 0
    private(set) var hasWide = false
    /// Octets of the longest line.
    private(set) var longest = 0
    private var column = 0
    private var utf8 = UTF8Progress()

    var isUTF8: Bool { utf8.isWhole }

    mutating func add(_ bytes: UnsafeRawBufferPointer) {
        octets += bytes.count
        measure(bytes)
        guard utf8.isOpen || Self.isWide(bytes) else { return }
        hasWide = true
        for byte in bytes {
            if byte > 127 { escaped += 1 }
            if byte > 127 || utf8.isOpen { utf8.add(byte) }
        }
    }

    /// Looks at eight octets at once.
    private static func isWide(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index + 8 <= bytes.count {
            if bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) & 0x8080_8080_8080_8080 != 0 { return true }
            index += 8
        }
        return bytes[index...].contains { $0 > 127 }
    }

    private mutating func measure(_ bytes: UnsafeRawBufferPointer) {
        var start = 0
        while start < bytes.count, let base = bytes.baseAddress {
            let feed = memchr(base + start, 0x0A, bytes.count - start)
            let end = feed.map { UnsafeRawPointer($0) - base } ?? bytes.count
            column += end - start
            // The CR is none of the line.
            if feed != nil, end > start, bytes[end - 1] == 0x0D { column -= 1 }
            longest = max(longest, column)
            if feed != nil { column = 0 }
            start = end + 1
        }
    }
}

/// Whether octets that come one by one are UTF-8 (RFC 3629).
private struct UTF8Progress {
    /// Octets that must follow.
    private var missing = 0
    private var next: ClosedRange<UInt8> = 0x80...0xBF
    private var isBroken = false

    var isOpen: Bool { missing > 0 && !isBroken }
    var isWhole: Bool { !isBroken && missing == 0 }

    mutating func add(_ byte: UInt8) {
        guard !isBroken else { return }
        if missing > 0 {
            isBroken = !next.contains(byte)
            missing -= 1
            next = 0x80...0xBF
            return
        }
        switch byte {
        case 0xC2...0xDF: missing = 1
        case 0xE0: (missing, next) = (2, 0xA0...0xBF)
        case 0xED: (missing, next) = (2, 0x80...0x9F)
        case 0xE1...0xEF: missing = 2
        case 0xF0: (missing, next) = (3, 0x90...0xBF)
        case 0xF4: (missing, next) = (3, 0x80...0x8F)
        case 0xF1...0xF3: missing = 3
        default: isBroken = true
        }
    }
}
