// Submission.swift — one message over SMTP to a relay on this machine: blocking, plain, with time limits.
//
// Not the machine of the SMTP room: that speaks to the world, pipelines and keeps sessions; this is a client of ours to
// ourselves, and a failed reply simply ends it.
//
// Guarantees: every recipient is taken by the relay, or named to the caller with the reason; a relay that takes fewer at
// once gets the message in several transactions (RFC 5321 §4.5.3.1.10).

import Glibc
import Mail

/// A message on its way to the relay.
struct Letter: Hashable {
    let from: ReversePath
    /// Not empty, each once.
    let to: [EmailAddress]
    /// With CRLF line ends.
    let bytes: [UInt8]
}

/// A conversation with the relay.
struct Submission {
    /// Seconds for each step.
    private static let patience = 300

    private let place: SubmissionPlace
    private let wire: Wire

    /// Connects.
    ///
    /// - Throws: with EX_TEMPFAIL, so that cron and scripts try again.
    init(_ place: SubmissionPlace) throws {
        self.place = place
        wire = try Wire(try Self.connect(place), isTLS: place.isTLS)
    }

    /// Hears the greeting, and that is all.
    ///
    /// - Throws: when the relay does not greet.
    func greet() throws {
        var reader = ReplyReader(wire)
        try reader.expect("2")
        _ = try? say("QUIT", &reader)
    }

    /// Hands the message over, and complains about recipients that were refused.
    ///
    /// - Returns: the exit status: 0, or that of the refusals.
    /// - Throws: when nobody was taken, or not all of them could be asked about.
    func send(_ letter: Letter) throws -> Int32 {
        let round = hand(letter)
        guard round.taken > 0 else {
            throw round.trouble ?? OperatorError(round.refusals.joined(separator: "; "), status: round.status)
        }
        for refusal in round.refusals { Output.complain(refusal, by: "sendmail") }
        guard let trouble = round.trouble else { return round.refused.isEmpty ? 0 : round.status }
        for address in round.unsent { Output.complain("\(address): not sent", by: "sendmail") }
        throw OperatorError(
            "\(round.taken) recipients were taken, and the others not: \(trouble)",
            status: trouble.status
        )
    }

    /// Hands the message over.
    ///
    /// - Returns: who was taken, who was refused, and what put an end to it.
    func hand(_ letter: Letter) -> Round {
        var round = Round(waiting: letter.to[...])
        do {
            try hand(letter, &round)
        } catch {
            round.trouble = error as? OperatorError ?? OperatorError("\(error)", status: EX_SOFTWARE)
        }
        return round
    }

    private func hand(_ letter: Letter, _ round: inout Round) throws {
        var reader = ReplyReader(wire)
        try reader.expect("2")
        let hello = try ask("EHLO \(place.hostName)", &reader, "2")
        let isEightBit = letter.bytes.contains { $0 >= 0x80 } && hello.uppercasedASCII.contains(octets: "8BITMIME")
        var isUTF8 = letter.to.contains { !$0.isASCII }
        if case .address(let sender) = letter.from { isUTF8 = isUTF8 || !sender.isASCII }
        let mail = "MAIL FROM:<\(letter.from)>" + (isEightBit ? " BODY=8BITMIME" : "") + (isUTF8 ? " SMTPUTF8" : "")
        while !round.waiting.isEmpty {
            _ = try ask(mail, &reader, "2")
            try name(&round, &reader)
            guard !round.named.isEmpty else { break }
            _ = try ask("DATA", &reader, "3")
            try wire.write(Self.stuffed(letter.bytes))
            try reader.expect("2")
            round.taken += round.named.count
            round.named = []
        }
        _ = try? say("QUIT", &reader)
    }

    /// Names recipients until there are none left, or the relay wants no more in this transaction.
    private func name(_ round: inout Round, _ reader: inout ReplyReader) throws {
        while let address = round.waiting.first {
            let reply = try say("RCPT TO:<\(address)>", &reader)
            if reply.starts(withOctets: "2") {
                round.named.append(address)
            } else if !round.named.isEmpty, Self.isEnough(reply) {
                return
            } else {
                round.refused.append((address, reply))
            }
            round.waiting.removeFirst()
        }
    }

    /// Whether a reply says that a transaction has enough recipients: old servers say 552 (RFC 5321 §4.5.3.1.10).
    private static func isEnough(_ reply: String) -> Bool {
        reply.utf8.starts(with: "452".utf8) || reply.utf8.starts(with: "552".utf8)
    }

    /// `-bs`: SMTP between standard input and output and the relay.
    func passThrough() throws {
        var places = [pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)]
        // The relay speaks first: who does not wait for its greeting is taken for a robot.
        places[0].fd = -1
        var isGreeted = false
        var patience = Int32(Self.patience * 1000)
        places.append(pollfd(fd: wire.socket, events: Int16(POLLIN), revents: 0))
        var block = [UInt8](repeating: 0, count: 65_536)
        while true {
            guard poll(&places, 2, patience) > 0 else { return }
            if places[1].revents != 0 {
                guard let heard = try? wire.read() else { return }
                Output.write(heard)
                if !isGreeted, !heard.isEmpty {
                    places[0].fd = STDIN_FILENO
                    isGreeted = true
                }
            }
            if places[0].revents != 0 {
                let count = read(STDIN_FILENO, &block, block.count)
                guard count > 0 else {
                    // The end of the input: hear what the relay still has to say, until it closes or has nothing more.
                    places[0].fd = -1
                    patience = 10_000
                    continue
                }
                try wire.write(Array(block[..<count]))
            }
        }
    }

    private func say(_ line: String, _ reader: inout ReplyReader) throws -> String {
        try wire.write(Array("\(line)\r\n".utf8))
        return try reader.next()
    }

    private func ask(_ line: String, _ reader: inout ReplyReader, _ digit: Unicode.Scalar) throws -> String {
        try wire.write(Array("\(line)\r\n".utf8))
        return try reader.expect(digit)
    }

    /// Dots at the start of a line doubled, and the one that ends it all (RFC 5321 §4.5.2).
    private static func stuffed(_ message: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(message.count + 16)
        var isStart = true
        for byte in message {
            if isStart, byte == UInt8(ascii: ".") { out.append(byte) }
            out.append(byte)
            isStart = byte == UInt8(ascii: "\n")
        }
        return out + Array((isStart ? ".\r\n" : "\r\n.\r\n").utf8)
    }

    private static func connect(_ place: SubmissionPlace) throws -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(place.address, "\(place.port)", &hints, &list) == 0, let info = list else {
            throw OperatorError("\(place.address) is no address", status: EX_CONFIG)
        }
        defer { freeaddrinfo(list) }
        let socket = Glibc.socket(info.pointee.ai_family, info.pointee.ai_socktype, 0)
        var limit = timeval(tv_sec: patience, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard Glibc.connect(socket, info.pointee.ai_addr, info.pointee.ai_addrlen) == 0 else {
            let reason = String(cString: strerror(errno))
            close(socket)
            throw OperatorError.absence("no relay at \(place.address):\(place.port): \(reason)")
        }
        return socket
    }
}

/// How far a message with its recipients has come.
struct Round {
    /// Not named yet.
    var waiting: ArraySlice<EmailAddress>
    /// In this transaction.
    var named: [EmailAddress] = []
    /// With a message that the relay answers for.
    var taken = 0
    var refused: [(address: EmailAddress, reply: String)] = []
    /// What put an end to it before every recipient was asked about.
    var trouble: OperatorError?

    init(waiting: ArraySlice<EmailAddress>) { self.waiting = waiting }

    /// Those that nobody has answered for.
    var unsent: [EmailAddress] { named + waiting }
    var refusals: [String] { refused.map { "\($0.address): \($0.reply)" } }

    /// What the caller may do: try again when some refusal may pass.
    var status: Int32 { refused.contains { $0.reply.starts(withOctets: "4") } ? EX_TEMPFAIL : EX_NOUSER }
}

/// Replies, line by line.
private struct ReplyReader {
    private let wire: Wire
    private var bytes: [UInt8] = []

    init(_ wire: Wire) { self.wire = wire }

    /// A whole reply.
    mutating func next() throws -> String {
        var text = ""
        while true {
            let line = try line()
            text += text.isEmpty ? line : "\n\(line)"
            guard line.utf8.count >= 3, text.utf8.count < 65_536 else {
                throw OperatorError(
                    "what answers does not speak SMTP; see that the relay listens there (martlet status)",
                    status: EX_PROTOCOL
                )
            }
            if line.utf8.dropFirst(3).first != UInt8(ascii: "-") { return Printout.clean(text) }
        }
    }

    /// A reply that must begin with a digit.
    @discardableResult
    mutating func expect(_ digit: Unicode.Scalar) throws -> String {
        let reply = try next()
        guard reply.utf8.first == UInt8(ascii: digit) else {
            if reply.starts(withOctets: "421") { throw OperatorError.absence(reply) }
            throw OperatorError(reply, status: reply.starts(withOctets: "4") ? EX_TEMPFAIL : EX_UNAVAILABLE)
        }
        return reply
    }

    private mutating func line() throws -> String {
        while true {
            if let feed = bytes.firstIndex(of: UInt8(ascii: "\n")) {
                defer { bytes.removeSubrange(...feed) }
                return String(decoding: bytes[..<feed].filter { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
            }
            guard bytes.count < 65_536 else {
                throw OperatorError(
                    "what answers does not speak SMTP; see that the relay listens there (martlet status)",
                    status: EX_PROTOCOL
                )
            }
            bytes += try wire.read()
        }
    }
}
