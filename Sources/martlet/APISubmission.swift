// APISubmission.swift — mail that comes in by the API: past the same plugins as by SMTP, into the same queue.

import Admin
import Config
import Hooks
import Ingest
import Log
import Mail
import NIOCore
import NIOPosix
import Queue
import Storage

/// Takes messages from the API.
struct APISubmission: Sendable {
    private let queue: MailQueue
    private let plugins: PluginChain
    private let submitter: Submitter
    private let log: LogSink
    private let loop: any EventLoop

    /// - Parameter settings: those in force.
    init(
        queue: MailQueue,
        plugins: PluginChain,
        log: LogSink,
        loop: any EventLoop,
        settings: @escaping @Sendable () -> Settings
    ) {
        self.queue = queue
        self.plugins = plugins
        self.log = log
        self.loop = loop
        submitter = Submitter(queue: queue, as: .api, log: log, settings: settings)
    }

    /// Asks `queue_outbound` and queues the message.
    ///
    /// - Returns: its name, once it is durable or a plugin has taken it; or what SMTP would have said.
    func submit(
        _ envelope: Envelope,
        _ content: ByteBuffer,
        notBefore time: Timestamp?
    ) async -> Result<QueueID, SubmitRefusal> {
        let now = Timestamp.now()
        let id = queue.makeID(at: now)
        var changed = envelope
        switch await ask(about: &changed, content, id) {
        case .next: break
        case .taken:
            note("message taken by a plugin", id, envelope, nil)
            return .success(id)
        case .reject(let reply):
            note("message rejected by a plugin", id, envelope, reply)
            return .failure(SubmitRefusal(reply))
        }
        if let time, let error = await hold(id, Hold(since: now, until: time, reason: "send_at")) {
            return .failure(SubmitRefusal(Self.reply(error)))
        }
        let accepted = changed
        return await withCheckedContinuation { continuation in
            submitter.submit(accepted, content, as: id, at: now, on: loop) { result in
                continuation.resume(returning: result.mapError { SubmitRefusal(Self.reply($0)) })
            }
        }
    }

    /// - Returns: why the hold could not be written down.
    private func hold(_ id: QueueID, _ hold: Hold) async -> QueueError? {
        let written: EventLoopFuture<QueueError?> = queue.disk.runIfActive(eventLoop: loop) { [queue] in
            do throws(QueueError) { try queue.hold(arriving: id, hold) } catch { return error }
            return nil
        }
        do { return try await written.get() } catch { return .closing }
    }

    private func ask(
        about envelope: inout Envelope,
        _ content: ByteBuffer,
        _ id: QueueID
    ) async -> QueueOutboundAnswer {
        guard plugins.asks(.queueOutbound) else { return .next }
        let message = Content(
            prologue: ByteBuffer(),
            body: .memory(content),
            hasLeadingDots: false,
            isEightBit: false
        )
        let contents = MessageContents(message, disk: queue.disk, loop: loop)
        return await plugins.queueOutbound(&envelope, contents, id: id)
    }

    private func note(_ message: StaticString, _ id: QueueID, _ envelope: Envelope, _ reply: Reply?) {
        log.write(.notice, message) { line in
            line.add(.id, id.description)
            line.add(.from, envelope.sender.description)
            line.add(.recipients, envelope.recipients.count)
            if let reply { line.add(.reply, reply.description) }
        }
    }

    /// What storage could not do, as SMTP says it.
    private static func reply(_ error: QueueError) -> Reply {
        switch error {
        case .full: Reply(452, EnhancedStatus(4, 3, 1), "no space on disk")
        case .closing: Reply(421, EnhancedStatus(4, 3, 2), "the relay is stopping")
        case .damaged: Reply(550, EnhancedStatus(5, 6, 0), "the message holds a bare CR or LF, or a NUL")
        case .broken, .locked: Reply(451, EnhancedStatus(4, 3, 0), "the disk failed")
        }
    }
}
