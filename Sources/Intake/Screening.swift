// Screening.swift — a complete message on its way through milters, one after the other; each sees what the one before has made of
// it.
//
// Guarantees: memory does not grow with the text, neither with the one that came nor with one that takes its place; a milter that
// gives no verdict has changed nothing. Bound to one event loop.

import Config
import Filters
import Mail
import MessageFormat
import Milter
import NIOCore
import NIOPosix
import Queue
import SMTP
import Storage

/// One message at some milters.
final class Screening {
    /// A recipient that goes no further.
    struct Refused: Sendable {
        let recipient: Recipient
        let reply: Reply
        let milter: String

        /// What is said where one answer is for all recipients: whom it is about.
        var named: Reply {
            let words = reply.lines.joined(separator: " ")
            return Reply(reply.code, reply.status, "\(recipient.address): \(words)")
        }
    }

    /// What the milters have made of it.
    struct Passed: Sendable {
        let envelope: Envelope
        let refused: [Refused]
        /// Why it is held; nil: it is not.
        let hold: String?
        let isChanged: Bool
        let header: [UInt8]
        /// There is no empty line behind the header yet.
        let needsGap: Bool
        /// Where the old text begins.
        let oldText: Int
        /// The text that takes its place.
        let text: OtherText?
    }

    enum End: Sendable {
        case passed(Passed)
        /// By which milter.
        case discarded(String)
        case refused(String, Reply)
        case failed(QueueError)
    }

    private var mail: ScreenedMail
    private let desks: [MilterDesk]
    /// Those that were told of it before there was a message.
    private let escort: Escort?
    private let disk: NIOThreadPool
    private let queue: MailQueue
    private let loop: any EventLoop
    private var done: ((End) -> Void)?
    private var position = 0
    private var examination: Examination?
    private var header = EditedHeader([])
    private var isChanged = false
    private var hold: String?
    private var refused: [Refused] = []
    /// That of the milters before, and that of the one that is asked.
    private var (text, newText): (OtherText?, OtherText?) = (nil, nil)

    init(
        _ mail: ScreenedMail,
        _ desks: [MilterDesk],
        _ escort: Escort?,
        disk: NIOThreadPool,
        queue: MailQueue,
        on loop: any EventLoop
    ) {
        (self.mail, self.desks, self.escort, self.disk, self.queue, self.loop) = (
            mail, desks, escort, disk, queue, loop
        )
    }

    /// Begins.
    ///
    /// - Parameter done: called once, unless it is cancelled before.
    func start(_ done: @escaping (End) -> Void) {
        self.done = done
        switch mail.body {
        case .memory(let bytes):
            header = EditedHeader(bytes.getBytes(at: bytes.readerIndex, length: mail.headerSize) ?? [])
            askNext()
        case .file(let file):
            read(file, at: 0, count: mail.headerSize) { [self] octets in
                guard let octets else { return end(.failed(.broken("the message cannot be read"))) }
                header = EditedHeader(Array(buffer: octets))
                askNext()
            }
        }
    }

    /// Nobody wants to know any more.
    func cancel() {
        done = nil
        examination?.cancel()
        examination = nil
        for text in [text, newText] { text?.discard(queue) }
        (text, newText) = (nil, nil)
    }

    private func end(_ end: End) {
        guard let done else { return }
        self.done = nil
        examination = nil
        newText?.discard(queue)
        newText = nil
        if case .passed = end {} else { text?.discard(queue) }
        text = nil
        done(end)
    }

    private func askNext() {
        guard done != nil else { return }
        guard position < desks.count else {
            return end(
                .passed(
                    Passed(
                        envelope: mail.envelope,
                        refused: refused,
                        hold: hold,
                        isChanged: isChanged || text != nil,
                        header: header.octets,
                        needsGap: !mail.hasGap || text != nil,
                        oldText: mail.headerSize,
                        text: text
                    )
                )
            )
        }
        let desk = desks[position]
        let leg = escort?.leg(of: desk)
        switch leg?.standing ?? .open {
        case .open: break
        case .accepted:
            desk.decided(.pass)
            position += 1
            return askNext()
        case .discarded:
            desk.decided(.discard)
            return end(.discarded(desk.settings.name))
        }
        let examination = desk.examination(
            of: mail.told(header, textSize: text?.size ?? mail.textSize),
            mail.bounds,
            by: leg,
            on: loop,
            for: self
        )
        self.examination = examination
        examination.start()
    }

    /// Reads from a file on a disk thread.
    private func read(_ file: any LargeBody, at offset: Int, count: Int, _ then: @escaping (ByteBuffer?) -> Void) {
        let bytes: EventLoopFuture<ByteBuffer?> = disk.runIfActive(eventLoop: loop) {
            do throws(QueueError) { return try file.read(at: offset, count: count) } catch { return nil }
        }
        bytes.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let octets): then(octets)
            case .failure: then(nil)
            }
        }
    }
}

extension Screening: Examined {
    func text(at offset: Int, count: Int) -> ByteBuffer? {
        let place: Content.Body
        let start: Int
        if let text {
            if let bytes = text.inMemory { return bytes.getSlice(at: bytes.readerIndex + offset, length: count) }
            guard let file = text.file else { return ByteBuffer() }
            (place, start) = (.file(file), offset)
        } else {
            (place, start) = (mail.body, mail.textStart + offset)
        }
        switch place {
        case .memory(let bytes): return bytes.getSlice(at: bytes.readerIndex + start, length: count) ?? ByteBuffer()
        case .file(let file):
            read(file, at: start, count: count) { [weak self] octets in self?.examination?.read(octets) }
            return nil
        }
    }

    func replace(by octets: ByteBuffer) -> Bool {
        let text = newText ?? OtherText()
        newText = text
        guard text.append(octets) else { return true }
        spill(text, isLast: false) { [self] in examination?.goOn() }
        return false
    }

    /// Writes what there is of another text.
    ///
    /// - Parameter then: called when it is written, unless that ends the message.
    private func spill(_ text: OtherText, isLast: Bool, _ then: @escaping () -> Void) {
        let (queue, id) = (queue, queue.makeID(at: .now()))
        let block = text.takeWaiting()
        text.isAtDisk = true
        let written: EventLoopFuture<Spilled> = disk.runIfActive(eventLoop: loop) { [file = text.file] in
            Spilled.write(block, to: file, of: id, in: queue, isLast: isLast)
        }
        written.assumeIsolated().whenComplete { [self] result in
            let spilled = (try? result.get()) ?? Spilled(file: text.file, error: .closing)
            (text.file, text.isAtDisk) = (spilled.file, false)
            guard done != nil else { return text.discard(queue) }
            guard let error = spilled.error else { return then() }
            examination?.cancel()
            end(.failed(error))
        }
    }

    func examined(_ result: Result<MilterVerdict, MilterFault>) {
        examination = nil
        let milter = desks[position].settings
        position += 1
        let verdict: MilterVerdict
        do throws(MilterFault) {
            verdict = try result.get()
            try take(verdict, of: milter.name)
        } catch {
            newText?.discard(queue)
            newText = nil
            return absent(milter, error)
        }
        // What is in a file can be read when all of it is written.
        guard verdict.end == .pass, verdict.replacesBody, let text, text.file != nil else {
            return follow(verdict, of: milter)
        }
        spill(text, isLast: true) { [self] in follow(verdict, of: milter) }
    }

    private func follow(_ verdict: MilterVerdict, of milter: MilterSettings) {
        switch verdict.end {
        case .discard: end(.discarded(milter.name))
        case .refuse(let reply):
            // Of mail that comes in whole it says which address it is about.
            guard verdict.step == .rcpt, mail.isWhole, let first = verdict.refused.first else {
                return end(.refused(milter.name, reply))
            }
            let recipient = mail.envelope.recipients[first.index]
            end(.refused(milter.name, Refused(recipient: recipient, reply: first.reply, milter: milter.name).named))
        case .pass:
            // One recipient alone cannot come again: all of them do.
            if let later = refused.first(where: { $0.reply.severity == .temporary }) {
                return end(.refused(milter.name, later.named))
            }
            if mail.envelope.recipients.isEmpty {
                guard let last = refused.last else { return end(.discarded(milter.name)) }
                return end(.refused(milter.name, last.reply))
            }
            askNext()
        }
    }

    /// There is no verdict: the milter's section says what that means.
    private func absent(_ milter: MilterSettings, _ fault: MilterFault) {
        switch milter.absence {
        case .accept: askNext()
        case .tempfail: end(.refused(milter.name, MilterMachine.later))
        case .reject: end(.refused(milter.name, Reply(550, EnhancedStatus(5, 5, 0), "Service unavailable")))
        case .quarantine:
            hold = hold ?? "milter \(milter.name): \(fault.text)"
            askNext()
        }
    }

    /// Applies what a milter wants, all of it or nothing.
    private func take(_ verdict: MilterVerdict, of milter: String) throws(MilterFault) {
        guard verdict.end == .pass else { return }
        var (changed, fields) = (mail, header)
        let unwanted = verdict.refused.map { (mail.envelope.recipients[$0.index], $0.reply) }
        changed.envelope.recipients.removeAll { recipient in unwanted.contains { $0.0.address == recipient.address } }
        for change in verdict.changes { try changed.apply(change, to: &fields) }
        guard fields.size <= mail.headerBytes else { throw MilterFault(.garbled, "it makes the header too long") }
        refused += unwanted.map { Refused(recipient: $0.0, reply: $0.1, milter: milter) }
        isChanged = isChanged || verdict.changes.contains(where: \.isOfHeader)
        (mail, header) = (changed, fields)
        if let reason = verdict.quarantine { hold = hold ?? "milter \(milter): \(reason)" }
        if verdict.replacesBody {
            text?.discard(queue)
            text = newText ?? OtherText()
            text?.complete()
            newText = nil
        }
    }
}
