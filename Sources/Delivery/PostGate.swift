// PostGate.swift — the other end of a session whose next hop takes mail over HTTPS: speaks SMTP with the session, and posts.
//
// So everything that holds for SMTP holds for these hops: lanes, limits, outcomes, reports, what is remembered and explained. The
// session's peer is this value behind a pair of sockets, in the same process and on the same loop. Guarantees: one message at a
// time; a message is answered for when the API has answered, and else the connection ends without a reply, which the session
// knows the meaning of; memory is bounded by what the API takes.

import Mail
import NIOCore
import SMTP

/// Takes one session's mail to a mail API.
final class PostGate: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum State {
        /// → body, posting, over
        case commands
        /// Behind 354. → posting
        case body(DotDecoder, ByteBuffer)
        /// The API has the message; nothing is read. → commands, over
        case posting
        case over
    }

    private static let longestLine = 4096

    private let login: PostLogin
    private let office: PostOffice
    private let timeout: Duration
    private let parser: CommandParser
    private var framer = LineFramer(limit: longestLine)
    private var input = ByteBuffer()
    private var state = State.commands
    private var sender: ReversePath?
    private var recipients: [EmailAddress] = []
    /// Octets that the office keeps room for.
    private var room = 0

    /// - Parameter timeout: for an answer of the API.
    init(_ login: PostLogin, _ office: PostOffice, me: Domain, timeout: Duration) {
        (self.login, self.office, self.timeout) = (login, office, timeout)
        parser = CommandParser(me: me)
    }

    func channelActive(context: ChannelHandlerContext) {
        if let seconds = office.rest(of: login.api) {
            say(context, "421 4.3.2 the API wants to hear nothing for \(seconds) s")
            return end(context)
        }
        say(context, "220 \(login.api.name) over HTTPS")
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        input.writeBuffer(&bytes)
        goOn(context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        state = .over
        giveBack()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { end(context) }

    private func goOn(_ context: ChannelHandlerContext) {
        while true {
            switch state {
            case .posting, .over: return
            case .body(var decoder, var body):
                // One owner, so that it grows in place.
                state = .commands
                let isWhole = decoder.decode(&input, into: &body)
                guard isWhole else {
                    state = .body(decoder, body)
                    input.discardReadBytes()
                    return
                }
                if decoder.isTooLarge {
                    refuse(
                        context,
                        "552 5.3.4 the message has \(decoder.size) octets and the API takes \(login.api.limit)"
                    )
                } else {
                    post(Array(body.readableBytesView), context)
                }
            case .commands:
                guard let command = nextCommand() else {
                    input.discardReadBytes()
                    return
                }
                obey(command, context)
            }
        }
    }

    private func nextCommand() -> Command? {
        switch framer.next(&input) {
        case .incomplete: return nil
        case .refused: return .noop
        case .line(let count):
            let command = input.withUnsafeReadableBytes { parser.parse(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            input.moveReaderIndex(forwardBy: count + framer.lineEnd)
            return command
        }
    }

    private func obey(_ command: Command, _ context: ChannelHandlerContext) {
        switch command {
        case .ehlo: say(context, greeting)
        case .helo, .noop, .help, .vrfy: say(context, "250 2.0.0 ok")
        case .mail(let sender, let parameters): take(sender, parameters, context)
        case .rcpt(let recipient): take(recipient.address, context)
        case .data: beginBody(context)
        case .rset:
            reset()
            say(context, "250 2.0.0 ok")
        case .quit:
            say(context, "221 2.0.0 bye")
            end(context)
        case .bdat, .startTLS, .auth, .claim: say(context, "502 5.5.1 not here")
        case .refused(let refusal): say(context, "\(refusal.reply)")
        }
    }

    /// SMTPUTF8 is for none of them; SES wants seven bits.
    private var greeting: String {
        var words = ["\(login.api.name)", "PIPELINING", "ENHANCEDSTATUSCODES", "SIZE \(login.api.limit)"]
        if case .graph = login.api { words.append("8BITMIME") }
        return words.dropLast().map { "250-\($0)\r\n" }.joined() + "250 \(words.last ?? "")"
    }

    private func take(_ sender: ReversePath, _ parameters: MailParameters, _ context: ChannelHandlerContext) {
        reset()
        let size = min(parameters.size ?? login.api.limit, login.api.limit)
        guard office.enter(size) else { return say(context, "452 4.3.1 too much mail is on its way to this API") }
        room = size
        self.sender = sender
        say(context, "250 2.1.0 ok")
    }

    private func take(_ recipient: EmailAddress, _ context: ChannelHandlerContext) {
        guard sender != nil else { return say(context, "503 5.5.1 MAIL first") }
        guard recipients.count < login.api.mostRecipients else {
            return say(context, "452 4.5.3 one request has \(login.api.mostRecipients) recipients")
        }
        recipients.append(recipient)
        say(context, "250 2.1.5 ok")
    }

    private func beginBody(_ context: ChannelHandlerContext) {
        guard sender != nil, !recipients.isEmpty else { return say(context, "503 5.5.1 RCPT first") }
        state = .body(DotDecoder(limit: login.api.limit), ByteBuffer())
        say(context, "354 go ahead")
    }

    private func post(_ message: [UInt8], _ context: ChannelHandlerContext) {
        guard let sender else { return end(context) }
        state = .posting
        let posting = Posting(
            login: login,
            sender: sender,
            recipients: recipients,
            message: message,
            timeout: timeout
        )
        let (office, loop) = (office, context.eventLoop)
        let bound = NIOLoopBound((self, context), eventLoop: loop)
        Task {
            let step = await office.send(posting)
            loop.execute { bound.value.0.answered(step, bound.value.1) }
        }
    }

    private func answered(_ step: PostStep, _ context: ChannelHandlerContext) {
        guard case .posting = state else { return }
        reset()
        switch step {
        case .reply(let reply):
            state = .commands
            say(context, "\(reply)")
            if reply.code == 421 { end(context) } else { goOn(context) }
        // The session makes of it what it makes of any connection that is lost behind the dot.
        case .renew, .unknown: end(context)
        }
    }

    private func refuse(_ context: ChannelHandlerContext, _ reply: String) {
        reset()
        say(context, reply)
    }

    private func reset() {
        giveBack()
        (sender, recipients) = (nil, [])
    }

    private func giveBack() {
        if room > 0 { office.leave(room) }
        room = 0
    }

    private func say(_ context: ChannelHandlerContext, _ line: String) {
        context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: line + "\r\n")), promise: nil)
    }

    private func end(_ context: ChannelHandlerContext) {
        state = .over
        giveBack()
        context.close(promise: nil)
    }
}
