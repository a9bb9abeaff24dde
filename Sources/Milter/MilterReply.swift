// MilterReply.swift — a packet of a milter into what it means, checked: nothing that comes out of here can end a header early,
// forge a reply, or name what was not said.

import Mail
import NIOCore

/// A change that a milter wants.
package enum MilterChange: Hashable, Sendable {
    case addHeader(name: [UInt8], value: [UInt8])
    /// Behind so many fields; 0: in front of all of them.
    case insertHeader(index: Int, name: [UInt8], value: [UInt8])
    /// The so-manieth field of that name among those that are there now, counted from 1; without a value it goes.
    case changeHeader(index: Int, name: [UInt8], value: [UInt8])
    /// Address as it came, with or without brackets, and ESMTP arguments.
    case changeSender(String, arguments: String)
    case addRecipient(String, arguments: String)
    case removeRecipient(String)
}

extension MilterChange {
    /// With a blank behind the colon, where the milter has none.
    var spaced: MilterChange {
        switch self {
        case .addHeader(let name, let value): .addHeader(name: name, value: [0x20] + value)
        case .insertHeader(let index, let name, let value):
            .insertHeader(index: index, name: name, value: [0x20] + value)
        case .changeHeader(let index, let name, let value) where !value.isEmpty:
            .changeHeader(index: index, name: name, value: [0x20] + value)
        case .changeHeader, .changeSender, .addRecipient, .removeRecipient: self
        }
    }
}

/// What a milter says.
enum MilterReply: Hashable, Sendable {
    case accept, goOn, discard, reject, tempFail, skip, progress, connectionFailed, shutDown
    case reply(Reply)
    case change(MilterChange)
    case replaceBody(ByteBuffer)
    case quarantine(String)
    case negotiated(MilterTerms)

    /// - Throws: for what is no answer.
    init(_ packet: MilterPacket) throws(MilterFault) {
        var data = packet.data
        switch packet.letter {
        case UInt8(ascii: "a"): self = .accept
        case UInt8(ascii: "c"): self = .goOn
        case UInt8(ascii: "d"): self = .discard
        case UInt8(ascii: "r"): self = .reject
        case UInt8(ascii: "t"): self = .tempFail
        case UInt8(ascii: "s"): self = .skip
        case UInt8(ascii: "p"): self = .progress
        case UInt8(ascii: "f"): self = .connectionFailed
        case UInt8(ascii: "4"): self = .shutDown
        case UInt8(ascii: "b"): self = .replaceBody(data)
        case UInt8(ascii: "y"): self = .reply(try Reply(milter: data.text("a reply")))
        case UInt8(ascii: "q"): self = .quarantine(try data.text("a reason").clean)
        case UInt8(ascii: "h"): self = .change(.addHeader(name: try data.fieldName(), value: try data.text("a value")))
        case UInt8(ascii: "i"):
            let index = try data.number()
            self = .change(.insertHeader(index: index, name: try data.fieldName(), value: try data.text("a value")))
        case UInt8(ascii: "m"):
            let index = try data.number()
            self = .change(.changeHeader(index: index, name: try data.fieldName(), value: try data.text("a value")))
        case UInt8(ascii: "+"): self = .change(.addRecipient(try data.text("an address").string, arguments: ""))
        case UInt8(ascii: "2"):
            let address = try data.text("an address").string
            self = .change(.addRecipient(address, arguments: try data.optionalText().string))
        case UInt8(ascii: "-"): self = .change(.removeRecipient(try data.text("an address").string))
        case UInt8(ascii: "e"):
            let address = try data.text("an address").string
            self = .change(.changeSender(address, arguments: try data.optionalText().string))
        case MilterStep.negotiation.rawValue: self = .negotiated(try MilterTerms(&data))
        default:
            throw MilterFault(.garbled, "an answer begins with the octet \(packet.letter), which means nothing")
        }
    }

    /// What must have been negotiated for it.
    var action: MilterActions {
        switch self {
        case .change(.addHeader), .change(.insertHeader): .addHeaders
        case .change(.changeHeader): .changeHeaders
        case .change(.changeSender): .changeSender
        case .change(.addRecipient(_, let arguments)): arguments.isEmpty ? [] : .addRecipientsWithArguments
        case .change(.removeRecipient): .removeRecipients
        case .replaceBody: .changeBody
        case .quarantine: .quarantine
        default: []
        }
    }
}

/// What was negotiated.
package struct MilterTerms: Hashable, Sendable {
    /// 2…6.
    package let version: UInt32
    package let actions: MilterActions
    package let omitted: MilterProtocol
    /// Macros that it wants at a step, where it names them itself.
    package let macros: [MilterStep: [String]]

    /// Names of macros that are read of one milter.
    private static let mostMacros = 256

    init(_ data: inout ByteBuffer) throws(MilterFault) {
        guard let version: UInt32 = data.readInteger(), let actions: UInt32 = data.readInteger(),
            let omitted: UInt32 = data.readInteger()
        else { throw MilterFault(.garbled, "its answer to the negotiation is too short") }
        guard (2...6).contains(version) else {
            throw MilterFault(.garbled, "it speaks version \(version) of the protocol, and we speak 2 to 6")
        }
        self.version = version
        let isOld = version < 3
        self.actions = MilterActions(rawValue: actions)
        // Sizes that we did not offer, and bits that nobody has named yet, may come back from those who copy what they got.
        self.omitted = MilterProtocol(rawValue: omitted).intersection(isOld ? .old : .offered)
        guard self.actions.isSubset(of: isOld ? .old : .all) else {
            throw MilterFault(.garbled, "it wants to do what we did not offer: actions \(actions)")
        }
        var macros: [MilterStep: [String]] = [:]
        var count = 0
        while let stage: UInt32 = data.readInteger() {
            let names = try data.text("a list of macros").string.words.map(String.init)
            count += names.count
            guard count <= Self.mostMacros else { throw MilterFault(.garbled, "it wants too many macros") }
            if let step = MilterStep(macroStage: stage) { macros[step] = names.map(Self.braced) }
        }
        self.macros = macros
    }

    init(version: UInt32, actions: MilterActions, omitted: MilterProtocol, macros: [MilterStep: [String]] = [:]) {
        (self.version, self.actions, self.omitted, self.macros) = (version, actions, omitted, macros)
    }

    /// Names of more than a letter have braces.
    private static func braced(_ name: String) -> String {
        name.utf8.count > 1 && name.utf8.first != UInt8(ascii: "{") ? "{\(name)}" : name
    }

    /// Whether a step is shown.
    func shows(_ step: MilterStep) -> Bool {
        if step == .data, version < 4 { return false }
        return !omitted.skips(step)
    }
}

extension ByteBuffer {
    /// A text up to its NUL.
    fileprivate mutating func text(_ what: String) throws(MilterFault) -> [UInt8] {
        guard let end = readableBytesView.firstIndex(of: 0), let text = readBytes(length: end - readerIndex) else {
            throw MilterFault(.garbled, "\(what) has no end")
        }
        moveReaderIndex(forwardBy: 1)
        return text
    }

    /// The same where it may be missing.
    fileprivate mutating func optionalText() throws(MilterFault) -> [UInt8] {
        readableBytes == 0 ? [] : try text("an argument")
    }

    fileprivate mutating func number() throws(MilterFault) -> Int {
        guard let number: UInt32 = readInteger() else { throw MilterFault(.garbled, "a number is too short") }
        return Int(number)
    }

    fileprivate mutating func fieldName() throws(MilterFault) -> [UInt8] {
        let name = try text("a name")
        guard (1...998).contains(name.count), name.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x3A }) else {
            throw MilterFault(.garbled, "\"\(name.prefix(40).clean)\" is no name of a header field")
        }
        return name
    }
}

extension Collection<UInt8> {
    fileprivate var string: String { String(decoding: self, as: UTF8.self) }

    /// Printable, for replies and logs, and short.
    fileprivate var clean: String {
        let octets = prefix(400).map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: " ") : $0 }
        return String(decoding: octets, as: UTF8.self)
    }
}

extension Reply {
    /// Lines that are kept of a reply.
    private static let mostLines = 32

    /// Reads what a milter wants the client to hear: `550 5.7.1 no`, of several lines where each but the last has a hyphen; `%%`
    /// is a percent sign, as Sendmail has it.
    ///
    /// 421 would end a session that goes on here: it becomes 451.
    /// - Throws: for anything but 4xx and 5xx.
    init(milter text: [UInt8]) throws(MilterFault) {
        var (code, status): (UInt16?, EnhancedStatus?) = (nil, nil)
        var lines: [String] = []
        for raw in text.split(omittingEmptySubsequences: true, whereSeparator: { $0 == 0x0A || $0 == 0x0D }).prefix(
            Self.mostLines
        ) {
            let line = raw.map { $0 > 0x7E ? UInt8(ascii: "?") : $0 }.clean.percentsHalved
            let head = line.utf8.prefix(3)
            guard head.count == 3, head.allSatisfy({ (0x30...0x39).contains($0) }),
                let number = UInt16(Substring(head)), (400...599).contains(number), code == nil || code == number
            else { throw MilterFault(.garbled, "\"\(raw.prefix(40).clean)\" is no reply of 4xx or 5xx") }
            code = number
            var rest = line.utf8.dropFirst(3)
            if let gap = rest.first {
                guard gap == 0x20 || gap == 0x2D else {
                    throw MilterFault(.garbled, "\"\(raw.prefix(40).clean)\" is no reply of 4xx or 5xx")
                }
                rest = rest.dropFirst()
            }
            if let found = EnhancedStatus(leading: rest), found.class == UInt8(number / 100) {
                status = status ?? found
                rest = rest.drop { $0 != 0x20 }.drop { $0 == 0x20 }
            }
            lines.append(String(Substring(rest)))
        }
        guard let code else { throw MilterFault(.garbled, "a reply is empty") }
        let shown = status ?? EnhancedStatus(UInt8(code / 100), 7, 1)
        self.init(code == 421 ? 451 : code, shown, lines: lines)
    }
}

extension String {
    /// With each `%%` as one sign.
    fileprivate var percentsHalved: String {
        guard utf8.contains(UInt8(ascii: "%")) else { return self }
        var octets: [UInt8] = []
        var isSecond = false
        for octet in utf8 {
            if octet == UInt8(ascii: "%"), isSecond {
                isSecond = false
                continue
            }
            isSecond = octet == UInt8(ascii: "%")
            octets.append(octet)
        }
        return String(decoding: octets, as: UTF8.self)
    }
}
