// MilterScript.swift — drives the machine through a dialogue: what it says as text, what the milter answers, what comes of it.
//
//     C: M <a@x.example> SIZE=30       a packet of ours: its letter, and its texts with a blank between them
//     S: h X-A|value                   a packet of the milter's: its letter, and its texts; a number first where it has one
//     S: O 6 1ff 0                     its answer to the negotiation: version, actions and what is left out, the latter two in hex
//     S: ~220 mx.example ESMTP\r\n     octets as they are
//     ! body hello                     directives: body, field, rcpt; `steps yes`: told step by step before there is a text, `late`: from a recipient on
//     > verdict pass                   what comes of it, in ``MilterScript/words``

import Mail
import NIOCore
import TestSupport
import Testing

@testable import Milter

struct MilterScript {
    private var machine = MilterMachine()
    private var mail = MilterMail()
    private var body = ByteBuffer()
    private var replacement = ByteBuffer()
    private var said: [String] = []
    private var done: [String] = []
    private var hasBegun = false
    /// Steps that are told before the message.
    private var plan: [(step: MilterStep, recipient: Recipient?)]?
    private var taken: [Recipient] = []
    private var hasEnded = false
    private var input = ByteBuffer()

    static func run(_ dialogue: Dialogue, bytewise: Bool) throws {
        var script = MilterScript()
        script.mail.host = "client.example"
        script.mail.address = IPAddress("192.0.2.1")
        script.mail.port = 4321
        script.mail.helo = "helo.example"
        script.mail.sender = EmailAddress("a@x.example").map { .address($0) } ?? .null
        script.mail.macros = ["j": "relay.example", "i": "ID"]
        for line in dialogue.lines {
            let place = "\(dialogue.name):\(line.number)"
            switch line.step {
            case .directive(let name, let value): try script.direct(name, value, place)
            case .client(let bytes):
                if script.said.isEmpty { try script.begin() }
                let expected = String(buffer: bytes).filter { $0 != "\r\n" }
                let got = script.said.isEmpty ? "nothing" : script.said.removeFirst()
                #expect(Dialogue.matches(expected, got), "\(place): \(got)")
            case .server(let text):
                try script.begin()
                #expect(script.said.isEmpty, "\(place): said \(script.said)")
                try script.hear(MilterScript.packet(text, place), bytewise: bytewise)
            case .action(let text):
                try script.begin()
                let got = script.done.isEmpty ? "nothing" : script.done.removeFirst()
                #expect(Dialogue.matches(text, got), "\(place): \(got)")
            }
        }
        #expect(script.said.isEmpty && script.done.isEmpty, "\(dialogue.name): left \(script.said) \(script.done)")
    }

    private mutating func direct(_ name: String, _ value: String, _ place: String) throws {
        switch name {
        case "body": body.writeString(value.replacing("\\r\\n", with: "\r\n"))
        case "field":
            let parts = value.split(separator: ":", maxSplits: 1)
            let text = parts[1].replacing("\\r\\n", with: "\r\n")
            mail.fields.append(MilterMail.Field(name: Array(parts[0].utf8), value: Array(text.utf8)))
        case "steps":
            let early: [(step: MilterStep, recipient: Recipient?)] = [(.connect, nil), (.helo, nil), (.mail, nil)]
            plan = (value == "late" ? [] : early) + mail.recipients.map { (.rcpt, $0) }
        case "rcpt": mail.recipients.append(Recipient(try #require(EmailAddress(value))))
        case "again":
            #expect(machine.release() == (value == "yes"), "\(place)")
            take()
            (hasBegun, hasEnded, done) = (false, false, [])
        default: Issue.record("\(place): unknown directive \(name)")
        }
    }

    private mutating func begin() throws {
        guard !hasBegun else { return }
        hasBegun = true
        if mail.recipients.isEmpty { mail.recipients = [Recipient(try #require(EmailAddress("b@y.example")))] }
        mail.bodySize = body.readableBytes
        goOn()
        step()
    }

    /// Tells the next step, or the message.
    private mutating func goOn() {
        guard let next = plan?.first else {
            if plan != nil { mail.recipients = taken }
            return machine.begin(mail)
        }
        plan?.removeFirst()
        var told = mail
        told.macros["i"] = nil
        told.recipients = next.recipient.map { [$0] } ?? []
        asked = next.recipient
        machine.tell(next.step, told)
    }

    /// The recipient that it was told of last.
    private var asked: Recipient?

    private mutating func heard(_ answer: MilterAnswer) {
        switch answer {
        case .goOn:
            done.append("told go on")
            taken += asked.map { [$0] } ?? []
        case .accept: done.append("told accept")
        case .discard: done.append("told discard")
        case .refuse(let reply): done.append("told \(reply)")
        }
        goOn()
    }

    private mutating func hear(_ bytes: ByteBuffer, bytewise: Bool) throws {
        guard bytewise else {
            input.writeImmutableBuffer(bytes)
            return step()
        }
        for byte in bytes.readableBytesView where !hasEnded {
            input.writeInteger(byte)
            step()
        }
    }

    private mutating func step() {
        while true {
            do throws(MilterFault) {
                switch try machine.advance(&input) {
                case .input: return take()
                case .body(let offset, let count):
                    machine.bodyRead(body.getSlice(at: offset, length: count) ?? ByteBuffer())
                case .replacement(let octets): replacement.writeImmutableBuffer(octets)
                case .told(let answer): heard(answer)
                case .ended(let verdict):
                    take()
                    if !hasEnded {
                        if verdict.replacesBody {
                            done.append("replaced \(String(buffer: replacement).replacing("\r\n", with: "\\r\\n"))")
                        }
                        done += Self.words(verdict)
                    }
                    return hasEnded = true
                }
            } catch {
                take()
                done.append("fault \(error.kind.rawValue) \(error.text)")
                return hasEnded = true
            }
        }
    }

    /// What was said, packet by packet.
    private mutating func take() {
        while let length: UInt32 = machine.output.readInteger(), let letter: UInt8 = machine.output.readInteger(),
            var data = machine.output.readSlice(length: Int(length) - 1)
        {
            var words = [String(UnicodeScalar(letter))]
            switch letter {
            case UInt8(ascii: "O"):
                while let number: UInt32 = data.readInteger() { words.append(String(number, radix: 16)) }
            case UInt8(ascii: "D"):
                words.append(data.readString(length: 1) ?? "")
                words += Self.texts(&data)
            case UInt8(ascii: "C"):
                let end = data.readableBytesView.firstIndex(of: 0) ?? data.readerIndex
                words.append(data.readString(length: end - data.readerIndex) ?? "")
                data.moveReaderIndex(forwardBy: 1)
                words.append(data.readString(length: 1) ?? "")
                if let port: UInt16 = data.readInteger() { words.append("\(port)") }
                words += Self.texts(&data)
            case UInt8(ascii: "B"): words.append(String(buffer: data).replacing("\r\n", with: "\\r\\n"))
            default: words += Self.texts(&data)
            }
            said.append(words.joined(separator: " "))
        }
        machine.output.clear()
    }

    private static func texts(_ data: inout ByteBuffer) -> [String] {
        String(buffer: data).split(separator: "\0", omittingEmptySubsequences: false).dropLast()
            .map { String($0).replacing("\n", with: "\\n") }
    }

    private static func words(_ verdict: MilterVerdict) -> [String] {
        var words: [String] = []
        for change in verdict.changes {
            switch change {
            case .addHeader(let name, let value): words.append("add \(text(name)):\(text(value))")
            case .insertHeader(let index, let name, let value):
                words.append("insert \(index) \(text(name)):\(text(value))")
            case .changeHeader(let index, let name, let value):
                words.append("change \(index) \(text(name)):\(text(value))")
            case .changeSender(let address, let arguments): words.append("sender \(address) \(arguments)")
            case .addRecipient(let address, let arguments): words.append("recipient \(address) \(arguments)")
            case .removeRecipient(let address): words.append("remove \(address)")
            }
        }
        for refused in verdict.refused { words.append("refused \(refused.index) \(refused.reply)") }
        if let reason = verdict.quarantine { words.append("quarantine \(reason)") }
        switch verdict.end {
        case .pass: words.append("verdict pass at \(verdict.step.word)")
        case .discard: words.append("verdict discard at \(verdict.step.word)")
        case .refuse(let reply): words.append("verdict \(reply)")
        }
        return words
    }

    private static func text(_ octets: [UInt8]) -> String {
        String(decoding: octets, as: UTF8.self).replacing("\n", with: "\\n").replacing("\r", with: "\\r")
    }

    static func packet(_ text: String, _ place: String) throws -> ByteBuffer {
        if text.hasPrefix("~") { return ByteBuffer(string: String(text.dropFirst()).replacing("\\r\\n", with: "\r\n")) }
        let letter = try #require(text.utf8.first)
        let rest = text.dropFirst(2)
        var packet = ByteBuffer()
        packet.write(letter) { packet in
            switch letter {
            case UInt8(ascii: "O"):
                let words = rest.split(separator: " ")
                packet.writeInteger(UInt32(words[0]) ?? 0)
                for word in words[1..<3] { packet.writeInteger(UInt32(word, radix: 16) ?? 0) }
                for list in words.dropFirst(3) {
                    let parts = list.split(separator: "=", maxSplits: 1)
                    packet.writeInteger(UInt32(parts[0]) ?? 0)
                    packet.writeText(String(parts[1]).replacing(",", with: " ").utf8)
                }
            case UInt8(ascii: "b"): packet.writeString(String(rest).replacing("\\r\\n", with: "\r\n"))
            default:
                guard !rest.isEmpty else { return }
                var parts = rest.split(separator: "|", omittingEmptySubsequences: false)
                if letter == UInt8(ascii: "i") || letter == UInt8(ascii: "m") {
                    packet.writeInteger(UInt32(parts.removeFirst()) ?? 0)
                }
                for part in parts { packet.writeText(String(part).replacing("\\n", with: "\n").utf8) }
            }
        }
        return packet
    }
}
