// ClientScript.swift — drives the reply parser and the client machine through a dialogue, without a socket.
//
//     ! option lmtp | across | helo | crlf | slow | tls=offered|required|implicit | clear | unauthenticated=defer|bounce
//     ! option login=USER:SECRET:MECHANISM                                before anything else
//     ! offer from=a@x.example to=b@y.example,c@y.example size=100 8bit body8 utf8 header8 ret=full envid=X notify=never
//     S: 250 ok                           what the peer sends; neighbouring lines arrive together
//     ! raw 250 ok\n                      bytes of the peer, with escapes, nothing added
//     C: MAIL FROM:<a@x.example>          a line the machine must send now
//     > body                              an action the machine must take now
//     > finished delivered | deferred 4.4.2 recipient | bounced 5.1.1 message dup | untried
//     > close   or   > close 4.4.2 host
//     ! drop, ! timeout, ! quit, ! abort, ! bodyfails
//     ! secured, ! handshake WHY          the TLS handshake is over, or came to nothing
//
// Offers wait in line and are made when the machine is ready. The same file is also run with the peer's bytes cut to
// single ones, unless it says `! packets`: then it matters what arrives together.

import Mail
import NIOCore
import SMTP
import TestSupport

struct ClientScript: ~Copyable {
    private var machine: ClientMachine
    private var parser: ReplyParser
    private var offers: [Transaction] = []
    private var isReady = false
    private var bodyFails = false
    /// The message is still on its way when the peer speaks.
    private var isSlow = false
    private let isImplicit: Bool
    /// What the machine did and nobody has looked at yet.
    private(set) var done: [String] = []
    private let bytewise: Bool

    static func run(_ dialogue: Dialogue, bytewise: Bool) throws(TestFailure) {
        var options = ClientMachine.Options(
            helo: "relay.example",
            host: "mx.example",
            ip: IPAddress("192.0.2.1"),
            pipelinesAcrossDot: false
        )
        var (takesBareLF, isSlow) = (true, false)
        for line in dialogue.lines {
            guard case .directive("option", let name) = line.step else { continue }
            if name == "lmtp" { options.isLMTP = true }
            if name == "helo" { options.saysHELO = true }
            if name == "crlf" { takesBareLF = false }
            if name == "slow" { isSlow = true }
            if name == "across" { options.pipelinesAcrossDot = true }
            try Self.takeSecurity(name, &options)
        }
        var script = ClientScript(options, bytewise: bytewise)
        script.parser = ReplyParser(takesBareLF: takesBareLF)
        script.isSlow = isSlow
        var packet = ByteBuffer()
        for line in dialogue.lines {
            if case .server(let text) = line.step {
                packet.writeString(text + "\r\n")
                continue
            }
            script.feed(&packet)
            try script.step(line, in: dialogue.name)
        }
        script.feed(&packet)
        if !script.done.isEmpty { throw TestFailure("\(dialogue.name): unexpected at the end: \(script.done)") }
    }

    init(_ options: ClientMachine.Options, bytewise: Bool) {
        machine = ClientMachine(options) { key, message in
            // The example of RFC 2195 §2; nothing else can be right.
            let isExample =
                key == Array("tanstaaftanstaaf".utf8)
                && message == Array("<1896.697170952@postoffice.reston.mci.net>".utf8)
            let digest: [UInt8] = [
                0xB9, 0x13, 0xA6, 0x02, 0xC7, 0xED, 0xA7, 0xA4, 0x95, 0xB4, 0xE6, 0xE7, 0x33, 0x4D, 0x38, 0x90,
            ]
            return isExample ? digest : []
        }
        self.bytewise = bytewise
        parser = ReplyParser()
        isImplicit = options.tls == .implicit
        if !isImplicit { perform(machine.handle(.connected)) }
    }

    private static func takeSecurity(_ option: String, _ options: inout ClientMachine.Options) throws(TestFailure) {
        let parts = option.split(separator: "=", maxSplits: 1).map(String.init)
        switch (parts[0], parts.last ?? "") {
        case ("tls", "offered"): options.tls = .ifOffered
        case ("tls", "required"): options.tls = .required
        case ("tls", "implicit"): options.tls = .implicit
        case ("authentic", _): options.isHostAuthentic = true
        case ("clear", _): options.mayLogInUnencrypted = true
        case ("unauthenticated", "defer"): options.onAuthUnavailable = .defer
        case ("unauthenticated", "bounce"): options.onAuthUnavailable = .bounce
        case ("login", let value):
            let words = value.split(separator: ":", maxSplits: 2).map(String.init)
            let mechanism = words.count > 2 ? Credentials.Mechanism(name: words[2]) : nil
            let isToken = words.count > 2 && words[2] == "TOKEN"
            let grant = OAuthGrant(tokenURL: "", clientID: "", refreshToken: Secret(""))
            let credentials = Credentials(
                user: words[0],
                proof: isToken ? .grant(grant) : .password(Secret(words[1])),
                mechanism: mechanism
            )
            options.login = Login(credentials, token: Secret(words[1]))
        case ("lmtp", _), ("across", _), ("helo", _), ("crlf", _), ("slow", _): break
        default: throw TestFailure("unknown option \(option)")
        }
    }

    private mutating func step(_ line: Dialogue.Line, in name: String) throws(TestFailure) {
        switch line.step {
        case .server: break
        case .client(let bytes):  // CRLF is one character.
            try expect("C: " + String(buffer: bytes).dropLast(), line, name)
        case .action(let text): try expect("> " + text, line, name)
        case .directive(let verb, let argument):
            switch verb {
            case "option", "packets": break
            case "offer":
                offers.append(Self.transaction(argument))
                offer()
            case "raw":
                var bytes = ByteBuffer(bytes: unescaped(argument))
                feed(&bytes)
            case "drop": perform(machine.handle(.peerClosed(nil)))
            case "timeout": perform(machine.handle(.timedOut))
            case "quit": perform(machine.handle(.quit))
            case "abort": perform(machine.handle(.abort))
            case "bodyfails": bodyFails = true
            case "secured":
                let trust: ChannelSecurity.Trust = argument == "unverified" ? .none : .name
                perform(machine.handle(.tlsEstablished(ChannelSecurity(version: "TLSv1.3", cipher: "X", trust: trust))))
                if isImplicit { perform(machine.handle(.connected)) }
            case "handshake": perform(machine.handle(.tlsFailed(argument)))
            default: throw TestFailure("\(name):\(line.number): unknown directive \(verb)")
            }
        }
    }

    private mutating func expect(_ text: String, _ line: Dialogue.Line, _ name: String) throws(TestFailure) {
        guard !done.isEmpty else { throw TestFailure("\(name):\(line.number): expected “\(text)”, nothing happened") }
        let next = done.removeFirst()
        guard Dialogue.matches(text, next) else {
            throw TestFailure("\(name):\(line.number): expected “\(text)”, got “\(next)”, then \(done)")
        }
    }

    private mutating func feed(_ packet: inout ByteBuffer) {
        if bytewise {
            while let byte = packet.readSlice(length: 1) { receive(byte) }
        } else if packet.readableBytes > 0 {
            receive(packet)
        }
        packet.clear()
    }

    private mutating func receive(_ bytes: ByteBuffer) {
        parser.append(bytes)
        while !machine.isClosed {
            switch parser.next(keeping: machine.textLimit) {
            case .incomplete: return
            case .malformed(let reason): perform(machine.handle(.malformedReply(reason)))
            case .reply(let reply): perform(machine.handle(.replied(reply, moreFollows: parser.holdsMore)))
            }
        }
    }

    private mutating func perform(_ actions: [ClientMachine.Action]) {
        for action in actions {
            switch action {
            case .send(let bytes):
                // An empty line is an answer too, to a challenge.
                let lines = String(buffer: bytes).split(separator: "\r\n", omittingEmptySubsequences: false)
                done += lines.dropLast().map { "C: " + $0 }
            case .startTLS: done.append("> starttls")
            case .warn(.sentWithoutAuth(let reason)): done.append("> warn \(reason)")
            case .sendBody:
                done.append("> body")
                if !isSlow { perform(machine.handle(bodyFails ? .bodyFailed("no disk") : .bodySent)) }
            case .ready: offer()
            case .finished(let outcomes): done.append("> finished " + outcomes.map(Self.words).joined(separator: " | "))
            case .close(let failure):
                done.append(
                    failure.map { "> close \($0.reply.reportedStatus) \($0.scope) \($0.stage)" } ?? "> close"
                )
            }
        }
    }

    private mutating func offer() {
        guard machine.takesOffer, !offers.isEmpty else { return }
        perform(machine.handle(.offered(offers.removeFirst())))
    }

    static func words(_ outcome: Outcome?) -> String {
        switch outcome {
        case nil: "untried"
        case .delivered: "delivered"
        case .deferred(let failure):
            "deferred \(failure.reply.reportedStatus) \(failure.scope)\(failure.mayBeDuplicate ? " dup" : "")"
        case .bounced(let failure): "bounced \(failure.reply.reportedStatus) \(failure.scope)"
        }
    }

    static func transaction(_ text: String) -> Transaction {
        var envelope = Envelope(sender: .null, recipients: [])
        var size = 100
        var isEightBit = false
        var hasUTF8Header = false
        var notify: Notify?
        var original: String?
        for word in text.split(separator: " ") {
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            let value = parts.count > 1 ? parts[1] : ""
            switch parts[0] {
            case "from": envelope.sender = EmailAddress(value).map { .address($0) } ?? .null
            case "to":
                envelope.recipients = value.split(separator: ",").compactMap { EmailAddress($0) }.map { Recipient($0) }
            case "size": size = Int(value) ?? 0
            case "8bit": envelope.isEightBit = true
            case "body8": isEightBit = true
            case "utf8": envelope.needsUTF8 = true
            case "header8": hasUTF8Header = true
            case "requiretls": envelope.requiresTLS = true
            case "forcetls": envelope.notes.forceTLS = true
            case "ret": envelope.returns = value == "full" ? .full : .headers
            case "envid": envelope.envelopeID = value
            case "orcpt": original = value
            case "notify":
                notify = value.split(separator: ",").reduce(into: Notify.never) { set, word in
                    if word == "success" { set.insert(.success) }
                    if word == "failure" { set.insert(.failure) }
                    if word == "delay" { set.insert(.delay) }
                }
            default: break
            }
        }
        for index in envelope.recipients.indices {
            envelope.recipients[index].notify = notify
            envelope.recipients[index].original = original
        }
        return Transaction(
            envelope: envelope,
            recipients: Array(0..<UInt32(envelope.recipients.count)),
            size: size,
            isEightBit: isEightBit,
            hasUTF8Header: hasUTF8Header
        )
    }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// `\r \n \0 \\ \xHH` and `\(text*count)`.
func unescaped(_ text: String) -> [UInt8] {
    var out: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
        guard byte == UInt8(ascii: "\\"), let next = rest.popFirst() else {
            out.append(byte)
            continue
        }
        switch next {
        case UInt8(ascii: "r"): out.append(13)
        case UInt8(ascii: "n"): out.append(10)
        case UInt8(ascii: "0"): out.append(0)
        case UInt8(ascii: "x"):
            out.append(UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) ?? 0)
            rest = rest.dropFirst(2)
        case UInt8(ascii: "("):
            let close = rest.firstIndex(of: UInt8(ascii: ")")) ?? rest.endIndex
            let inner = String(decoding: rest[..<close], as: UTF8.self)
            rest = rest[close...].dropFirst()
            let star = inner.lastIndex(of: "*") ?? inner.endIndex
            let count = Int(inner[star...].dropFirst()) ?? 0
            for _ in 0..<count { out += unescaped(String(inner[..<star])) }
        default: out.append(next)
        }
    }
    return out
}
