// ScreenedMail.swift — a message as milters are told of it, and what becomes of its envelope and header when they want something.
//
// Mail that no client of SMTP hands in is told as Postfix does it: from `localhost` at 127.0.0.1, with our own name as HELO.

import Config
import Mail
import MessageFormat
import Milter
import NIOCore
import OpenSSL
import Queue
import SMTP
import Storage

/// What is known of a complete message.
struct ScreenedMail {
    var envelope: Envelope
    let body: Content.Body
    /// Octets of the header as it came, without its empty line.
    let headerSize: Int
    /// The header ended with an empty line.
    let hasGap: Bool
    /// Octets that a header may have.
    let headerBytes: Int
    let bounds: MilterMachine.Bounds
    private let facts: MilterMail
    private let parser: CommandParser

    init(_ draft: Draft, _ pending: Pending, _ body: Content.Body, _ rules: IntakeRules) {
        envelope = pending.envelope
        self.body = body
        isWhole = pending.provenance.client == nil
        headerSize = draft.header.size
        hasGap = draft.header.end == .emptyLine
        headerBytes = rules.headerBytes
        var bounds = MilterMachine.Bounds()
        bounds.body = rules.messageBytes
        self.bounds = bounds
        parser = CommandParser(me: rules.me)
        let provenance = pending.provenance
        var facts = Self.facts(provenance.client, provenance.entrance, user: envelope.user, me: rules.me)
        facts.macros["i"] = draft.id.description
        self.facts = facts
    }

    /// No client of SMTP hands it in.
    let isWhole: Bool

    /// Where the text begins that came.
    var textStart: Int { headerSize + (hasGap ? 2 : 0) }
    /// Its octets.
    var textSize: Int { max(0, body.size - textStart) }

    /// What is known without the message.
    ///
    /// - Parameter client: nil where no client of SMTP hands it in.
    static func facts(_ client: Provenance.Client?, _ entrance: Entrance, user: String?, me: Domain) -> MilterMail {
        var mail = MilterMail()
        var macros = ["j": me.name, "v": "Martlet", "{daemon_name}": entrance.rawValue]
        if let client {
            (mail.host, mail.address, mail.port) = (client.name ?? "unknown", client.address, client.port)
            mail.helo = client.helo
            if let told = client.forwarded {
                mail.host = told.name.value ?? "unknown"
                if told.address != .unsaid { (mail.address, mail.port) = (told.address.value, told.port.value ?? 0) }
                mail.helo = told.helo.value ?? mail.helo
            }
            if let here = client.here {
                macros["{daemon_addr}"] = here.ip.description
                macros["{if_addr}"] = here.ip.description
                macros["{daemon_port}"] = "\(here.port)"
            }
            if let security = client.security {
                macros["{tls_version}"] = security.version
                macros["{cipher}"] = security.cipher
                macros["{cipher_bits}"] = "\(security.bits)"
            }
            if let mechanism = client.mechanism { macros["{auth_type}"] = mechanism.rawValue }
        } else {
            (mail.host, mail.address, mail.helo) = ("localhost", IPAddress("127.0.0.1"), me.name)
        }
        if let user { macros["{auth_authen}"] = user }
        macros["{client_name}"] = mail.host
        macros["{client_ptr}"] = mail.host
        if let address = mail.address {
            macros["{client_addr}"] = address.description
            macros["{client_port}"] = "\(mail.port)"
            macros["_"] = "\(mail.host) \(address.addressLiteral)"
        }
        mail.macros = macros
        return mail
    }

    /// The same for the next milter.
    func told(_ header: EditedHeader, textSize: Int) -> MilterMail {
        var mail = facts
        (mail.sender, mail.recipients, mail.bodySize) = (envelope.sender, envelope.recipients, textSize)
        mail.senderArguments = envelope.arguments(size: header.size + 2 + textSize)
        mail.fields = header.fields.map { MilterMail.Field(name: $0.name, value: $0.value) }
        return mail
    }

    // MARK: Changes

    /// Makes one change.
    ///
    /// - Throws: for what cannot be done; then nothing of the verdict counts.
    mutating func apply(_ change: MilterChange, to header: inout EditedHeader) throws(MilterFault) {
        switch change {
        case .addHeader(let name, let value): header.add(name, value)
        case .insertHeader(let index, let name, let value): header.insert(name, value, behind: index)
        case .changeHeader(let index, let name, let value):
            header.change(name, at: index, to: value.isEmpty ? nil : value)
        case .changeSender(let address, let arguments): try changeSender(address, arguments)
        case .addRecipient(let address, let arguments): try add(address, arguments)
        case .removeRecipient(let address): try remove(address)
        }
    }

    private mutating func changeSender(_ address: String, _ arguments: String) throws(MilterFault) {
        guard case .mail(let sender, let given) = parse("MAIL FROM:", address, arguments) else {
            throw Self.unusable(address, arguments)
        }
        envelope.sender = sender
        if case .address(let address) = sender, !address.isASCII { envelope.needsUTF8 = true }
        guard !arguments.isEmpty else { return }
        envelope.returns = given.returns ?? envelope.returns
        envelope.envelopeID = given.envelopeID ?? envelope.envelopeID
        envelope.needsUTF8 = envelope.needsUTF8 || given.needsUTF8
    }

    private mutating func add(_ address: String, _ arguments: String) throws(MilterFault) {
        guard case .rcpt(let recipient) = parse("RCPT TO:", address, arguments) else {
            throw Self.unusable(address, arguments)
        }
        guard !envelope.recipients.contains(where: { $0.address == recipient.address }) else { return }
        if !recipient.address.isASCII { envelope.needsUTF8 = true }
        envelope.recipients.append(recipient)
    }

    private mutating func remove(_ address: String) throws(MilterFault) {
        guard case .rcpt(let unwanted) = parse("RCPT TO:", address, "") else { throw Self.unusable(address, "") }
        let count = envelope.recipients.count
        envelope.recipients.removeAll { $0.address == unwanted.address }
        guard envelope.recipients.count == count else { return }
        let key = "\(unwanted.address)".lowercasedASCII
        envelope.recipients.removeAll { "\($0.address)".lowercasedASCII.isSame(octets: key) }
    }

    /// An address and its arguments as a client would give them.
    private func parse(_ verb: String, _ address: String, _ arguments: String) -> Command {
        let bare = address.rest(behind: "<").flatMap { $0.rest(before: ">") } ?? address[...]
        var line = Array("\(verb)<\(bare)>\(arguments.isEmpty ? "" : " \(arguments)")".utf8)
        return line.withUnsafeMutableBytes { parser.parse(UnsafeRawBufferPointer($0), allowsUTF8: true) }
    }

    private static func unusable(_ address: String, _ arguments: String) -> MilterFault {
        let shown = "\(address) \(arguments)".utf8.prefix(80).map {
            (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?")
        }
        return MilterFault(.garbled, "\"\(String(decoding: shown, as: UTF8.self))\" is no address that can be used")
    }
}

extension MilterChange {
    /// Whether it changes the message, and not its envelope.
    var isOfHeader: Bool {
        switch self {
        case .addHeader, .insertHeader, .changeHeader: true
        case .changeSender, .addRecipient, .removeRecipient: false
        }
    }
}

extension Envelope {
    /// What MAIL had behind the address.
    fileprivate func arguments(size: Int) -> [String] {
        var words = ["SIZE=\(size)"]
        if isEightBit { words.append("BODY=8BITMIME") }
        if needsUTF8 { words.append("SMTPUTF8") }
        if let returns { words.append(returns == .full ? "RET=FULL" : "RET=HDRS") }
        if let envelopeID { words.append("ENVID=\(envelopeID)") }
        return words
    }
}
