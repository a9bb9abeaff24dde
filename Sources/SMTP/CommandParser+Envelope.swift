// CommandParser+Envelope.swift — MAIL and RCPT: paths and parameters (RFC 5321 §4.1.1.2, §4.1.1.3, §4.1.2).

import Mail

extension CommandParser {
    func mail(_ rest: Text, isASCII: Bool) -> Command {
        var rest = rest.trimmed
        guard rest.begins(with: "FROM:") else { return .refused(Refusal(.mailSyntax)) }
        rest = rest.dropping(5).trimmed
        guard let path = PathParser.takePath(&rest) else { return .refused(Refusal(.mailSyntax)) }
        var parameters = MailParameters()
        if !rest.isEmpty {
            if let refusal = Self.readMail(&rest, into: &parameters) { return .refused(Refusal(refusal)) }
        }
        if !isASCII, let refusal = Self.checkUTF8(path, allowed: parameters.needsUTF8) {
            return .refused(Refusal(refusal))
        }
        if path.isEmpty { return .mail(.null, parameters) }
        guard let address = PathParser.address(path) else { return .refused(Refusal(.badSender)) }
        return .mail(.address(address), parameters)
    }

    func rcpt(_ rest: Text, isASCII: Bool, allowsUTF8: Bool) -> Command {
        var rest = rest.trimmed
        guard rest.begins(with: "TO:") else { return .refused(Refusal(.rcptSyntax)) }
        rest = rest.dropping(3).trimmed
        guard let path = PathParser.takePath(&rest) else { return .refused(Refusal(.rcptSyntax)) }
        if !isASCII, let refusal = Self.checkUTF8(path, allowed: allowsUTF8) { return .refused(Refusal(refusal)) }
        let address =
            path.equals("postmaster") ? EmailAddress(local: path.string, domain: me) : PathParser.address(path)
        guard let address else { return .refused(Refusal(.badRecipient)) }
        var recipient = Recipient(address)
        if !rest.isEmpty {
            if let refusal = Self.readRcpt(&rest, into: &recipient, allowsUTF8: allowsUTF8) {
                return .refused(Refusal(refusal))
            }
        }
        return .rcpt(recipient)
    }

    /// RFC 6531 §3.5: an address beyond ASCII in a transaction without SMTPUTF8 gets 553 5.6.7.
    private static func checkUTF8(_ path: Text, allowed: Bool) -> CannedReply? {
        guard path.kind() == .eightBit else { return nil }
        if path.validString == nil { return .notUTF8 }
        return allowed ? nil : .needsSMTPUTF8
    }

    private static func readMail(_ rest: inout Text, into parameters: inout MailParameters) -> CannedReply? {
        var seen: UInt8 = 0
        while true {
            let word = rest.nextWord()
            if word.isEmpty { return nil }
            guard word.kind() == .ascii else { return .badParameter }
            let (name, value) = split(word)
            let bit: UInt8
            if name.equals("SIZE") {
                bit = 1
                switch value?.number() {
                case .number(let size): parameters.size = size
                case .tooLarge: parameters.size = .max
                default: return .badParameter
                }
            } else if name.equals("BODY") {
                bit = 2
                guard let value, value.equals("8BITMIME") || value.equals("7BIT") else { return .badParameter }
                parameters.isEightBit = value.equals("8BITMIME")
            } else if name.equals("SMTPUTF8") {
                bit = 4
                guard value == nil else { return .badParameter }
                parameters.needsUTF8 = true
            } else if name.equals("RET") {
                bit = 8
                guard let value, value.equals("FULL") || value.equals("HDRS") else { return .badParameter }
                parameters.returns = value.equals("FULL") ? .full : .headers
            } else if name.equals("REQUIRETLS") {
                bit = 64
                guard value == nil else { return .badParameter }
                parameters.requiresTLS = true
            } else if name.equals("ENVID") {
                bit = 16
                guard let value, (1...100).contains(value.count), isXText(value) else { return .badParameter }
                parameters.envelopeID = value.string
            } else if name.equals("AUTH") {
                // RFC 4954 §5: to be understood; we trust nobody's word on who submitted a message first, and drop it.
                bit = 32
                guard let value, (1...500).contains(value.count), isXText(value) else { return .badParameter }
            } else {
                return .unknownParameter
            }
            guard seen & bit == 0 else { return .repeatedParameter }
            seen |= bit
        }
    }

    private static func readRcpt(_ rest: inout Text, into recipient: inout Recipient, allowsUTF8: Bool) -> CannedReply?
    {
        while true {
            let word = rest.nextWord()
            if word.isEmpty { return nil }
            let (name, value) = split(word)
            if name.equals("NOTIFY") {
                guard recipient.notify == nil else { return .repeatedParameter }
                guard let value, let notify = notify(value) else { return .badParameter }
                recipient.notify = notify
            } else if name.equals("ORCPT") {
                guard recipient.original == nil else { return .repeatedParameter }
                guard let value, isOriginalRecipient(value, allowsUTF8: allowsUTF8) else { return .badParameter }
                recipient.original = value.string
            } else {
                return .unknownParameter
            }
        }
    }

    private static func split(_ word: Text) -> (name: Text, value: Text?) {
        guard let equals = word.firstOffset(of: UInt8(ascii: "=")) else { return (word, nil) }
        return (word.prefix(equals), word.dropping(equals + 1))
    }

    /// `NEVER`, or a list of the others (RFC 3461 §4.1).
    private static func notify(_ value: Text) -> Notify? {
        if value.equals("NEVER") { return .never }
        var notify = Notify()
        var rest: Text? = value
        while let list = rest {
            let comma = list.firstOffset(of: UInt8(ascii: ","))
            let word = comma.map { list.prefix($0) } ?? list
            rest = comma.map { list.dropping($0 + 1) }
            if word.equals("SUCCESS") {
                notify.insert(.success)
            } else if word.equals("FAILURE") {
                notify.insert(.failure)
            } else if word.equals("DELAY") {
                notify.insert(.delay)
            } else {
                return nil
            }
        }
        return notify
    }

    /// `addr-type;xtext` (RFC 3461 §4.2), at most 500 octets; UTF-8 as itself only where the transaction allows it
    /// (RFC 6533 §3).
    private static func isOriginalRecipient(_ value: Text, allowsUTF8: Bool) -> Bool {
        guard value.count <= 500, let semicolon = value.firstOffset(of: UInt8(ascii: ";")), semicolon > 0 else {
            return false
        }
        let type = value.prefix(semicolon)
        for offset in 0..<type.count {
            switch type[offset] {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                continue
            default: return false
            }
        }
        let address = value.dropping(semicolon + 1)
        if address.kind() == .eightBit {
            return allowsUTF8 && type.equals("utf-8") && address.validString != nil
        }
        return isXText(address)
    }

    /// Whether a value is xtext: printable ASCII, with `+` and `=` only as `+HH` (RFC 3461 §4).
    ///
    /// What it decodes to must be printable ASCII too, or a report would carry what no line may carry (CVE-2020-28021,
    /// CVE-2020-28026).
    private static func isXText(_ value: Text) -> Bool {
        var offset = 0
        while offset < value.count {
            let byte = value[offset]
            guard byte > 0x20, byte < 0x7F, byte != UInt8(ascii: "=") else { return false }
            offset += 1
            guard byte == UInt8(ascii: "+") else { continue }
            guard offset + 1 < value.count, let high = hex(value[offset]), let low = hex(value[offset + 1]) else {
                return false
            }
            guard (0x20...0x7E).contains(high << 4 | low) else { return false }
            offset += 2
        }
        return true
    }

    private static func hex(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        default: nil
        }
    }
}
