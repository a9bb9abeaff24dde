// ServerMachine+Envelope.swift — MAIL, RCPT, DATA, and the message behind it (RFC 5321 §3.3, §4.1.1).

package import Mail
import NIOCore

extension ServerMachine {
    // MARK: MAIL

    mutating func mail(
        _ sender: ReversePath,
        _ parameters: MailParameters
    ) -> Need? {
        let given = sender
        let sender = limits.local?.sender(of: given) ?? given
        if sender != given { mending.insert(.sender) }
        if let objection = objection(to: sender, parameters) {
            subject = sender.description
            refuse(objection)
            return nil
        }
        transaction = Transaction(sender: sender, parameters: parameters)
        guard !asksSender else {
            phase = .asking(.mail(parameters.size))
            return .ask(.mail(sender, parameters))
        }
        return opened(parameters.size)
    }

    /// The sender is taken, if there is room.
    mutating func opened(_ size: Int?) -> Need? {
        if let size {
            phase = .checkingRoom
            return .room(size)
        }
        CannedReply.senderOK.write(to: &output)
        return nil
    }

    private func objection(to sender: ReversePath, _ parameters: MailParameters) -> CannedReply? {
        if hello == .none { return .helloFirst }
        if transaction != nil { return .nestedMail }
        if let user, !constraint.allows(sender, by: user) { return .notYourSender }
        if parameters.requiresTLS, !isSecure { return .needsTLS }
        if !limits.allow(sender) { return .senderDomain }
        if let size = parameters.size, size > limits.messageBytes { return .tooLarge }
        return nil
    }

    /// Answers ``Need/room(_:)``.
    package mutating func roomChecked(_ hasRoom: Bool) {
        guard case .checkingRoom = phase else { return }
        phase = .command
        if hasRoom {
            CannedReply.senderOK.write(to: &output)
        } else {
            subject = transaction?.sender.description
            refuseForNow(.noRoom)
            transaction = nil
        }
    }

    // MARK: RCPT

    mutating func rcpt(_ recipient: Recipient) -> Need? {
        if let refusal = refusal(of: recipient) {
            subject = recipient.address.description
            if refusal.severityDigit == 5 { refuse(refusal) } else { refuseForNow(refusal) }
            return nil
        }
        if let judge, let sender = transaction?.sender, let reply = judge(recipient.address, sender) {
            rejections.append(.route)
            subject = recipient.address.description
            note("\(reply)")
            // No slip of the client's, but no licence to repeat it without end.
            if countIdle() { reply.write(to: &output) }
            return nil
        }
        if asksRecipient, let sender = transaction?.sender {
            phase = .asking(.rcpt(recipient))
            return .ask(.rcpt(recipient, from: sender))
        }
        return added(recipient)
    }

    /// The recipient is taken, if there is memory.
    mutating func added(_ recipient: Recipient) -> Need? {
        if let total = transaction?.bytesNeeded(with: recipient) {
            phase = .growing(recipient)
            return .envelope(total)
        }
        transaction?.add(recipient)
        CannedReply.recipientOK.write(to: &output)
        return nil
    }

    private mutating func refusal(of recipient: Recipient) -> CannedReply? {
        if transaction == nil { return hello == .none ? .helloFirst : .mailFirst }
        guard mayRelay || isForAnybody?(recipient.address) ?? false else {
            rejections.append(.relayDenied)
            return .relayDenied
        }
        if transaction?.usesChunks == true { return .chunksBegun }
        // No copy of the transaction is held here: the array of recipients must stay the only one to grow in place.
        return transaction?.recipients.count ?? 0 < limits.recipients ? nil : .tooManyRecipients
    }

    /// Answers ``Need/envelope(_:)``: the memory is there, or it is not and the recipient is refused for now.
    package mutating func envelopeGrown(_ hasRoom: Bool) {
        guard case .growing(let recipient) = phase else { return }
        phase = .command
        guard hasRoom else {
            rejections.append(.noRoom)
            subject = recipient.address.description
            return refuseForNow(.noRoom)
        }
        transaction?.grow(for: recipient)
        transaction?.add(recipient)
        CannedReply.recipientOK.write(to: &output)
    }

    // MARK: DATA

    mutating func startData() -> Need? {
        guard let open = transaction else {
            refuse(hello == .none ? .helloFirst : .mailFirst)
            return nil
        }
        guard !open.usesChunks else {
            refuse(.chunksBegun)
            return nil
        }
        guard !open.recipients.isEmpty else {
            refuse(.noRecipients)
            return nil
        }
        phase = .beginning
        return .begin(open.parameters.size ?? limits.messageBytes)
    }

    /// Answers ``Need/begin(_:)``: there is room and a message was begun, or there is none.
    package mutating func begun(_ hasRoom: Bool) {
        guard case .beginning = phase, let open = transaction else { return }
        if open.usesChunks {
            chunkBegun(hasRoom)
        } else if hasRoom {
            transaction?.begin()
            decoder = DotDecoder(limit: limits.messageBytes, lineEnds: lineEndRule)
            CannedReply.startMail.write(to: &output)
            phase = .data
        } else {
            phase = .command
            refuseForNow(.noRoom)
            transaction = nil
            drainIfIdle()
        }
    }

    mutating func data(_ input: inout ByteBuffer, _ body: inout ByteBuffer) -> Need? {
        guard input.readableBytes > 0 else { return .input }
        guard decoder.decode(&input, into: &body) else {
            if decoder.isTooLarge || !decoder.isClean { decoder.discards = true }
            return .content
        }
        if decoder.isMended { mending.insert(.lineEnds) }
        return contentEnded(isClean: decoder.isClean, isTooLarge: decoder.isTooLarge)
    }

    /// How the content behind DATA ends its lines, by how DATA itself did.
    private var lineEndRule: LineEndRule {
        guard limits.isLenient else { return .strict }
        return lineEnd == 1 ? .either : .mended
    }

    // MARK: The message

    /// Refuses the message that is being received: what follows is consumed and not kept, the reply comes at its end.
    package mutating func object(_ objection: Rejection) {
        guard transaction?.object(objection) == true else { return }
        decoder.discards = true
        chunks.discards = true
    }

    /// The message's last octet was consumed.
    mutating func contentEnded(isClean: Bool, isTooLarge: Bool) -> Need? {
        asked = .endOfMessage
        if !isClean {
            // Somebody downstream might read another message here: no second try in this session.
            rejections.append(.bareLineEnding)
            throwOut(.bareInContent)
            return nil
        }
        if isTooLarge {
            finish(.tooLarge)
            return .abandon
        }
        if let objection = transaction?.objection {
            finish(objection)
            return .abandon
        }
        phase = .committing
        return .commit
    }

    /// Answers ``Need/commit``.
    package mutating func committed(_ result: Commit) {
        guard case .committing = phase else { return }
        switch result {
        case .queued(let id):
            forgive()
            output.compose(48) { output in
                output.put("250 2.0.0 Queued as ")
                output.put(id)
                output.put("\r\n")
            }
            leaveTransaction()
        case .taken:
            forgive()
            output.writeStaticString("250 2.0.0 Ok, taken\r\n")
            leaveTransaction()
        case .refused(.closing): end(.shuttingDown)
        case .refused(let rejection): finish(rejection)
        case .denied(let reply, let rejection):
            rejections.append(rejection)
            note("\(reply)")
            reply.write(to: &output)
            leaveTransaction()
        }
    }

    private mutating func leaveTransaction() {
        (transaction, forwarded) = (nil, nil)
        phase = .command
        drainIfIdle()
    }

    /// The envelope of the complete message; the transaction keeps no recipients.
    package mutating func takeEnvelope() -> Envelope? {
        guard case .committing = phase else { return nil }
        return transaction?.takeEnvelope(of: user)
    }

    /// Of the message that is complete: some line of it begins with a dot.
    package var hasLeadingDots: Bool {
        transaction?.usesChunks == true ? chunks.hasLeadingDots : decoder.hasLeadingDots
    }

    /// Of the message that is complete: some octet of it is above 127.
    package var isEightBit: Bool { transaction?.usesChunks == true ? chunks.isEightBit : decoder.isEightBit }

    /// Refuses the message, which ends the transaction.
    private mutating func finish(_ rejection: Rejection) {
        phase = .command
        rejections.append(rejection)
        let reply = rejection.reply
        if reply.severityDigit == 5 { refuse(reply) } else { refuseForNow(reply) }
        transaction = nil
        drainIfIdle()
    }

    /// A temporary refusal: no error of the client's, but no licence to repeat it without end.
    private mutating func refuseForNow(_ reply: CannedReply) {
        note(reply.description)
        idle(reply)
    }
}

extension Reply {
    /// Writes a reply that was made elsewhere, line by line.
    func write(to output: inout ByteBuffer) {
        let status = status.map { "\($0) " } ?? ""
        for (index, line) in lines.enumerated() {
            output.writeString("\(code)\(index == lines.count - 1 ? " " : "-")\(status)\(line)\r\n")
        }
    }
}
