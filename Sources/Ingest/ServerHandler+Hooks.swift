// ServerHandler+Hooks.swift — `queue_outbound`: plugins are asked between the end of a message and its commit.
//
// Only where some plugin wants to be asked; otherwise no task is made. While they are asked, the client waits: nothing of
// what it sends is worked on, and the draft keeps its memory or its file.

package import Hooks
import Log
import Mail
package import NIOCore
package import NIOPosix
import Queue
import SMTP
package import Storage

extension ServerHandler {
    /// Asks plugins about a complete message.
    func ask(about envelope: Envelope, of draft: Draft, _ body: Content.Body) {
        guard let context else { return }
        isAsking = true
        commitSerial &+= 1
        let (serial, plugins) = (commitSerial, door.plugins)
        let content = Content(prologue: ByteBuffer(), body: body, hasLeadingDots: false, isEightBit: false)
        let contents = MessageContents(content, disk: door.queue.disk, loop: context.eventLoop)
        let id = draft.id
        let answer = context.eventLoop.makeFutureWithTask {
            var changed = envelope
            let answer = await plugins.queueOutbound(&changed, contents, id: id)
            return (answer, changed)
        }
        answer.assumeIsolated().whenSuccess { answer, changed in
            self.answered(answer, changed, id, body, serial)
        }
    }

    private func answered(
        _ answer: QueueOutboundAnswer,
        _ envelope: Envelope,
        _ id: QueueID,
        _ body: Content.Body,
        _ serial: Int
    ) {
        // The client is gone, or the session has ended for another reason: so has the draft.
        guard isAsking, serial == commitSerial, let draft, draft.id == id else { return }
        isAsking = false
        switch answer {
        case .next: store(draft, envelope, body)
        case .taken:
            discardDraft()
            note("message taken by a plugin", id, envelope, nil)
            machine.committed(.taken, &output)
        case .reject(let reply):
            discardDraft()
            note("message rejected by a plugin", id, envelope, reply)
            machine.committed(.refused(reply), &output)
        }
        resume()
    }

    private func note(_ message: StaticString, _ id: QueueID, _ envelope: Envelope, _ reply: Reply?) {
        door.log.write(.notice, message) { line in
            line.add(.id, id.description)
            line.add(.from, envelope.sender.description)
            line.add(.recipients, envelope.recipients.count)
            line.add(.client, clientLiteral)
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
