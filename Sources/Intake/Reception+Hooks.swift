// Reception+Hooks.swift — `queue_outbound`: plugins are asked between the end of a message and its commit.
//
// Only where some plugin wants to be asked; otherwise no task is made. While they are asked, whoever hands the message in
// waits, and the draft keeps its memory or its file. A message that a plugin hands in while it is asked itself does not
// pass `queue_outbound` again: it would never end.

package import Hooks
import Log
import Mail
package import NIOCore
package import NIOPosix
import Queue
package import Storage

extension Reception {
    /// Asks plugins about the complete message.
    func ask(_ body: Content.Body, for owner: any ReceptionOwner) {
        guard let draft, let pending else { return }
        guard pending.passesPlugins, intake.plugins.asks(.queueOutbound) else { return complete(body, for: owner) }
        phase = .asking
        serial &+= 1
        let (serial, plugins, envelope, id) = (serial, intake.plugins, pending.envelope, draft.id)
        let content = Content(prologue: ByteBuffer(), body: body, hasLeadingDots: false, isEightBit: false)
        let contents = MessageContents(content, disk: intake.queue.disk, loop: loop)
        let answer = loop.makeFutureWithTask {
            var changed = envelope
            let answer = await plugins.queueOutbound(&changed, contents, id: id)
            return (answer, changed)
        }
        answer.assumeIsolated().whenSuccess { answer, changed in
            self.answered(answer, changed, body, serial, for: owner)
        }
    }

    private func answered(
        _ answer: QueueOutboundAnswer,
        _ envelope: Envelope,
        _ body: Content.Body,
        _ serial: Int,
        for owner: any ReceptionOwner
    ) {
        // The client is gone, or the session has ended for another reason: so has the draft.
        guard phase == .asking, serial == self.serial, let draft, let pending else { return }
        let id = draft.id
        switch answer {
        case .next, .edit:
            self.pending?.envelope = envelope
            guard case .edit(let edits) = answer else {
                complete(body, for: owner)
                return owner.receptionGoesOn(nil)
            }
            apply(edits, to: body, for: owner)
            // The disk may be at work, or the queue: there is nothing to tell yet.
            owner.receptionGoesOn(nil)
        case .taken:
            discard()
            note("message taken by a plugin", id, envelope, pending.provenance, nil)
            owner.receptionEnded(.taken(id))
        case .reject(let reply):
            discard()
            note("message rejected by a plugin", id, envelope, pending.provenance, reply)
            owner.receptionEnded(.refused(Refusal(byPlugin: reply)))
        }
    }

    private func note(
        _ message: StaticString,
        _ id: QueueID,
        _ envelope: Envelope,
        _ provenance: Provenance,
        _ reply: Reply?
    ) {
        intake.log.write(.notice, message) { line in
            line.add(.id, id.description)
            line.add(.from, envelope.sender.description)
            line.add(.recipients, envelope.recipients.count)
            if let client = provenance.client { line.add(.client, client.literal) }
            if let about = provenance.about { line.add(.about, about.description) }
            if let reply { line.add(.reply, reply.description) }
        }
    }
}

extension MessageContents {
    /// The bytes of a message, wherever they are.
    ///
    /// - Parameters:
    ///   - disk: reads from files.
    ///   - loop: where the disk reports back to.
    package init(_ content: Content, disk: NIOThreadPool, loop: any EventLoop) {
        self.init(size: content.size) { offset, count throws(Failure) in
            let prologue = content.prologue.readableBytes
            if offset < prologue { return content.prologue.octets(from: offset, atMost: count) }
            let offset = offset - prologue
            switch content.body {
            case .memory(let bytes): return bytes.octets(from: offset, atMost: count)
            case .file(let file):
                let read = disk.runIfActive(eventLoop: loop) { try file.read(at: offset, count: min(count, 1 << 20)) }
                guard let bytes = try? await read.get() else {
                    throw Failure(
                        .message,
                        at: .body,
                        Reply(451, EnhancedStatus(4, 3, 0), "the message cannot be read")
                    )
                }
                return bytes.octets(from: 0, atMost: count)
            }
        }
    }
}

extension ByteBuffer {
    fileprivate func octets(from offset: Int, atMost count: Int) -> [UInt8] {
        getBytes(at: readerIndex + offset, length: min(count, max(0, readableBytes - offset))) ?? []
    }
}
