// MilterMachine.swift — our side of a connection to a milter as a value: octets in, octets and needs out (protocol version 6,
// down to 2).
//
// It has no socket, no clock and no file. Guarantees: nothing that a milter sends can trap; how its answers are cut into pieces
// changes nothing; what it may say and how much of it is bounded; changes are those of a complete verdict or none.
//
//     machine.begin(mail)
//     loop: switch try machine.advance(&input) {
//           case .input: send output, wait for more …
//           case .body(let offset, let count): machine.bodyRead(octets)
//           case .replacement(let octets): keep them …
//           case .ended(let verdict): …
//           }

package import Mail
package import NIOCore

/// One connection to a milter; one message after the other.
package struct MilterMachine: Sendable {
    /// What has to happen before it can go on.
    package enum Need: Hashable, Sendable {
        /// An answer; everything in ``MilterMachine/output`` is to be sent.
        case input
        /// So many octets of the body from an offset; then ``MilterMachine/bodyRead(_:)``.
        case body(Int, count: Int)
        /// The next octets of the body that takes the old one's place; keep them, then go on.
        case replacement(ByteBuffer)
        /// What ``MilterMachine/tell(_:_:)`` came to.
        case told(MilterAnswer)
        case ended(MilterVerdict)
    }

    /// What one milter may say about one message.
    package struct Bounds: Sendable {
        /// Octets of another body.
        package var body = 26_214_400
        /// Octets of everything else.
        package var changes = 1 << 20
        /// Packets, words of progress included.
        package var packets = 100_000

        package init() {}
    }

    /// Octets of the body that are shown at once, as every milter takes them.
    package static let piece = 65_535

    enum State: Hashable, Sendable {
        /// No message. Next: step.
        case idle
        /// To be said, of which recipient or field, or from which octet of the body. Next: step, awaiting, reading, ended.
        case step(MilterStep, Int)
        /// Said, and the answer is to come. Next: step, ended.
        case awaiting(MilterStep, Int)
        /// ``Need/body(_:count:)`` is open. Next: awaiting, step.
        case reading(Int)
        /// Next: idle.
        case ended(MilterVerdict)
    }

    /// What is to be sent to the milter; whoever owns the connection sends and clears it.
    package var output = ByteBuffer()
    private(set) var state = State.idle
    /// Nil until it is negotiated.
    private(set) var terms: MilterTerms?
    private var bounds = Bounds()
    private var mail = MilterMail()
    private var verdict = MilterVerdict()
    private var spent = (body: 0, changes: 0, packets: 0)
    /// A step of a session is told, and nothing behind it; nil: the whole message is.
    private var target: MilterStep?
    /// It was told of the client, or does not want to be.
    package private(set) var knowsClient = false
    /// What it was told of a message whose text is to come.
    private var told: Told?
    /// The step that ``Need/told(_:)`` is about: the one that was to be told, or one before it.
    package private(set) var answeredAt = MilterStep.connect

    /// An envelope, as far as the milter takes it.
    private struct Told: Sendable {
        let sender: ReversePath
        var recipients: [Recipient] = []
    }

    package init() {}

    /// A message begins; the one before must be over.
    ///
    /// Of an envelope that was told step by step it is told the rest; where another one has become of it, all.
    package mutating func begin(_ mail: MilterMail, _ bounds: Bounds = Bounds()) {
        prepare(mail, bounds)
        defer { told = nil }
        if let told, told.sender == mail.sender, told.recipients == mail.recipients { return state = .step(.data, 0) }
        forget()
        // Client and HELO are known where a message of the same client came before.
        state = .step(terms == nil ? .negotiation : knowsClient ? .mail : .connect, 0)
    }

    /// A step of a session, before there is a whole message: the client, HELO, the sender, or one more recipient.
    ///
    /// What comes before it and was not told yet is told too; a sender is the end of a message that was begun.
    ///
    /// - Parameters:
    ///   - mail: with that recipient alone, where it is about one.
    ///   - begins: it was told nothing of this recipient's message.
    package mutating func tell(_ step: MilterStep, _ mail: MilterMail, begins: Bool = false) {
        prepare(mail, Bounds())
        target = step
        guard step != .rcpt || told == nil || begins else { return state = .step(.rcpt, 0) }
        forget()
        let first = step == .rcpt ? .mail : step
        state = .step(terms == nil ? .negotiation : knowsClient ? first : .connect, 0)
    }

    /// The first step of a session that it may have a say in; nil before negotiation.
    package var firstStep: MilterStep? {
        terms.map { terms in
            [.connect, .helo, .mail, .rcpt].first { terms.shows($0) && !terms.omitted.isSilent($0) } ?? .data
        }
    }

    private mutating func prepare(_ mail: MilterMail, _ bounds: Bounds) {
        (self.mail, self.bounds, target) = (mail, bounds, nil)
        verdict = MilterVerdict()
        spent = (0, 0, 0)
    }

    /// A message that was begun goes no further.
    private mutating func forget() {
        if told != nil { output.write(MilterNotice.abort) }
        told = nil
    }

    /// What is awaited, or was last; nil between messages.
    package var step: MilterStep? {
        switch state {
        case .idle: nil
        case .step(let step, _), .awaiting(let step, _): step
        case .reading: .body
        case .ended(let verdict): verdict.step
        }
    }

    /// The message is over: puts what makes the connection good for the same client's next one into ``output``.
    ///
    /// Not for another client's: the protocol has a word for that (`SMFIC_QUIT_NC`), and Debian's libmilter answers nothing behind it.
    ///
    /// - Returns: false when it is not good for another one.
    package mutating func release() -> Bool {
        guard case .ended(let verdict) = state else { return false }
        switch verdict.step {
        // What it says of a client is about all of its messages.
        case .negotiation, .connect, .helo: return false
        case .endOfBody: break
        case .mail, .rcpt, .data, .header, .endOfHeader, .body: output.write(MilterNotice.abort)
        }
        (mail, state) = (MilterMail(), .idle)
        return true
    }

    /// No more messages: puts the last word into ``output``.
    package mutating func leave() { output.write(MilterNotice.quit) }

    // MARK: Negotiation

    /// Appends what begins a conversation.
    package static func negotiate(_ output: inout ByteBuffer) {
        output.write(MilterStep.negotiation.rawValue) { output in
            output.writeInteger(UInt32(6))
            output.writeInteger(MilterActions.all.rawValue)
            output.writeInteger(MilterProtocol.offered.rawValue)
        }
    }

    /// The answer to that, for whoever wants to know no more.
    ///
    /// - Returns: nil when more has to come.
    /// - Throws: when no milter answers.
    package static func negotiated(_ input: inout ByteBuffer) throws(MilterFault) -> MilterTerms? {
        guard let packet = try MilterFramer.next(&input) else { return nil }
        guard case .negotiated(let terms) = try MilterReply(packet) else {
            throw MilterFault(.garbled, "\(shown(packet.letter)) is no answer to negotiation")
        }
        return terms
    }

    // MARK: Stepping

    /// Goes on as far as it can.
    ///
    /// - Parameter input: what has arrived; consumed from the front.
    /// - Throws: when the milter gives no verdict; the connection is worth nothing then.
    package mutating func advance(_ input: inout ByteBuffer) throws(MilterFault) -> Need {
        while true {
            switch state {
            case .idle: return .input
            case .step(let step, let index):
                if step != .negotiation, step != .connect { knowsClient = true }
                if let target, isBehind(target, step, index) { return .told(answered(.goOn, at: target)) }
                if let need = say(step, index) { return need }
            case .reading: return .input
            case .awaiting(let step, let index):
                guard let packet = try MilterFramer.next(&input) else { return .input }
                if target != nil {
                    guard let answer = try listen(packet, at: step, index) else { continue }
                    return .told(answered(answer, at: step))
                }
                if let octets = try hear(packet, at: step, index) { return .replacement(octets) }
            case .ended(let verdict): return .ended(verdict)
            }
        }
    }

    /// Answers ``Need/body(_:count:)``; empty: there is nothing more.
    package mutating func bodyRead(_ octets: ByteBuffer) {
        guard case .reading(let offset) = state else { return }
        guard octets.readableBytes > 0 else { return state = .step(.endOfBody, 0) }
        output.write(MilterStep.body.rawValue) { $0.writeImmutableBuffer(octets) }
        let next = offset + octets.readableBytes
        state = terms?.omitted.isSilent(.body) == true ? .step(.body, next) : .awaiting(.body, next)
    }

    /// Says a step, or leaves it out.
    private mutating func say(_ step: MilterStep, _ index: Int) -> Need? {
        if step == .negotiation {
            Self.negotiate(&output)
            state = .awaiting(step, 0)
            return nil
        }
        guard let terms else { return nil }
        guard terms.shows(step), index < count(of: step) else {
            state = next(behind: step)
            return nil
        }
        if step == .body {
            state = .reading(index)
            return .body(index, count: min(Self.piece, mail.bodySize - index))
        }
        let recipient = step == .rcpt ? mail.recipients[index] : nil
        mail.write(step, terms, of: recipient, to: &output)
        mail.write(step, terms, index, to: &output)
        state = terms.omitted.isSilent(step) ? goOn(behind: step, index) : .awaiting(step, index)
        return nil
    }

    /// How often it is said, or how many octets it has.
    private func count(of step: MilterStep) -> Int {
        switch step {
        case .rcpt: mail.recipients.count
        case .header: mail.fields.count
        case .body: mail.bodySize
        case .negotiation, .connect, .helo, .mail, .data, .endOfHeader, .endOfBody: 1
        }
    }

    /// The step behind all of a kind.
    private func next(behind step: MilterStep) -> State {
        switch step {
        case .negotiation: .step(.connect, 0)
        case .connect: .step(.helo, 0)
        case .helo: .step(.mail, 0)
        case .mail: .step(.rcpt, 0)
        case .rcpt: .step(.data, 0)
        case .data: .step(.header, 0)
        case .header: .step(.endOfHeader, 0)
        case .endOfHeader: .step(.body, 0)
        case .body, .endOfBody: .step(.endOfBody, 0)
        }
    }

    /// The step behind one recipient, field or piece of the body.
    private func goOn(behind step: MilterStep, _ index: Int) -> State {
        switch step {
        case .rcpt, .header: .step(step, index + 1)
        case .body: .step(step, index)
        case .negotiation, .connect, .helo, .mail, .data, .endOfHeader, .endOfBody: next(behind: step)
        }
    }

    // MARK: A session, step by step

    /// Whether everything up to a target is told.
    private func isBehind(_ target: MilterStep, _ step: MilterStep, _ index: Int) -> Bool {
        if target == .rcpt, step == .rcpt { return index > 0 }
        return next(behind: target) == .step(step, index)
    }

    /// Takes the answer to a step.
    ///
    /// - Returns: nil while the target is not reached.
    private mutating func listen(
        _ packet: MilterPacket,
        at step: MilterStep,
        _ index: Int
    ) throws(MilterFault) -> MilterAnswer? {
        spent.packets += 1
        guard spent.packets <= bounds.packets else { throw MilterFault(.garbled, "it says more than anybody can mean") }
        switch try MilterReply(packet) {
        case .negotiated(let terms) where step == .negotiation:
            self.terms = terms
            state = next(behind: .negotiation)
        case _ where step == .negotiation: throw unexpected(packet, step)
        case .progress: break
        case .goOn: state = goOn(behind: step, index)
        case .accept: return .accept
        case .discard where step != .connect && step != .helo: return .discard
        case .reject: return .refuse(Self.rejected)
        case .tempFail, .connectionFailed, .shutDown: return .refuse(Self.later)
        case .reply(let reply): return .refuse(reply)
        case .negotiated, .discard, .skip, .change, .replaceBody, .quarantine: throw unexpected(packet, step)
        }
        return nil
    }

    /// The end of a step: what it means for the message that was begun.
    private mutating func answered(_ answer: MilterAnswer, at step: MilterStep) -> MilterAnswer {
        (target, state, answeredAt) = (nil, .idle, step)
        // The sender was told with the recipient, where it was not before.
        if step == .rcpt { told = told ?? Told(sender: mail.sender) }
        switch (step, answer) {
        case (.mail, .goOn): told = Told(sender: mail.sender)
        case (.rcpt, .goOn): told?.recipients += mail.recipients
        // It has no more to say about this one, and does not know that there is no more.
        case (.mail, _), (.rcpt, .accept), (.rcpt, .discard):
            told = told ?? Told(sender: mail.sender)
            forget()
        default: break
        }
        return answer
    }

    // MARK: Answers

    /// Takes an answer.
    ///
    /// - Returns: octets of another body.
    private mutating func hear(
        _ packet: MilterPacket,
        at step: MilterStep,
        _ index: Int
    ) throws(MilterFault) -> ByteBuffer? {
        spent.packets += 1
        guard spent.packets <= bounds.packets else { throw MilterFault(.garbled, "it says more than anybody can mean") }
        let reply = try MilterReply(packet)
        switch reply {
        case .negotiated(let terms):
            guard step == .negotiation else { throw unexpected(packet, step) }
            self.terms = terms
            state = next(behind: .negotiation)
        case _ where step == .negotiation: throw unexpected(packet, step)
        case .progress: break
        case .goOn: goOn(step, index)
        case .accept: end(.pass, at: step)
        case .discard:
            guard step != .connect, step != .helo else { throw unexpected(packet, step) }
            end(.discard, at: step)
        case .reject: refuse(Self.rejected, at: step, index)
        case .tempFail, .connectionFailed, .shutDown: refuse(Self.later, at: step, index)
        case .reply(let reply): refuse(reply, at: step, index)
        case .skip:
            guard step == .body, terms?.omitted.contains(.skip) == true else { throw unexpected(packet, step) }
            state = .step(.endOfBody, 0)
        case .change, .replaceBody, .quarantine: return try take(reply, packet, at: step)
        }
        return nil
    }

    /// What is said where a milter wants the client to come again, or gives no verdict and nothing else is set.
    package static let later = Reply(451, EnhancedStatus(4, 7, 1), "Service unavailable - try again later")

    private static let rejected = Reply(550, EnhancedStatus(5, 7, 1), "Command rejected")

    private mutating func goOn(_ step: MilterStep, _ index: Int) {
        if step == .endOfBody { return end(.pass, at: step) }
        guard step == .rcpt, index == mail.recipients.count - 1, verdict.refused.count == mail.recipients.count,
            let last = verdict.refused.last
        else { return state = goOn(behind: step, index) }
        end(.refuse(last.reply), at: step)
    }

    private mutating func refuse(_ reply: Reply, at step: MilterStep, _ index: Int) {
        guard step == .rcpt else { return end(.refuse(reply), at: step) }
        verdict.refused.append(MilterVerdict.Refused(index: index, reply: reply))
        goOn(step, index)
    }

    private mutating func end(_ end: MilterVerdict.End, at step: MilterStep) {
        (verdict.end, verdict.step) = (end, step)
        if end != .pass { (verdict.changes, verdict.quarantine, verdict.replacesBody) = ([], nil, false) }
        state = .ended(verdict)
    }

    /// Takes a change, which may come at the end of a message only.
    private mutating func take(
        _ reply: MilterReply,
        _ packet: MilterPacket,
        at step: MilterStep
    ) throws(MilterFault) -> ByteBuffer? {
        guard step == .endOfBody else { throw unexpected(packet, step) }
        guard let terms, reply.action.isSubset(of: terms.actions) else {
            throw MilterFault(.garbled, "it changes what it did not say that it would: \(Self.shown(packet.letter))")
        }
        if case .replaceBody(let octets) = reply {
            spent.body += octets.readableBytes
            guard spent.body <= bounds.body else {
                throw MilterFault(.garbled, "another body is longer than any message may be")
            }
            verdict.replacesBody = true
            return octets
        }
        spent.changes += packet.data.readableBytes
        guard spent.changes <= bounds.changes else {
            throw MilterFault(.garbled, "it changes more than any header has")
        }
        switch reply {
        case .change(let change):
            verdict.changes.append(terms.omitted.contains(.leadingSpace) ? change : change.spaced)
        case .quarantine(let reason): verdict.quarantine = reason
        default: break
        }
        return nil
    }

    private func unexpected(_ packet: MilterPacket, _ step: MilterStep) -> MilterFault {
        MilterFault(.garbled, "\(Self.shown(packet.letter)) is no answer to \(step.word)")
    }

    private static func shown(_ letter: UInt8) -> String {
        (0x21...0x7E).contains(letter) ? "'\(UnicodeScalar(letter))'" : "octet \(letter)"
    }
}
