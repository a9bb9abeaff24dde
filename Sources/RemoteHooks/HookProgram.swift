// HookProgram.swift — a program of any language that answers hooks, as one more plugin: JSON over HTTP, kept-alive
// connections, a deadline, a circuit breaker, and a rule for when there is no answer.
//
// Guarantees: every question ends within the program's `timeout`; answers are bounded; no answer, and none that can be
// used, ever stops mail for good: it goes on (`open`) or waits (`closed`), and the log says why.

package import Config
package import HTTPClient
package import Hooks
import JSON
package import Log
package import Mail
import MessageFormat
import Synchronization

/// Runs blocking work on some thread.
package struct BlockingThreads: Sendable {
    let run: @Sendable (@escaping @Sendable () -> Void) -> Void

    package init(_ run: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void) { self.run = run }
}

/// One section of `hooks.ini` at work.
package final class HookProgram: Plugin {
    /// Bytes of an answer.
    private static let mostAnswerBytes = 256 << 10
    /// Bytes of a message that are sent along: with `contents = message`, and with `header`.
    private static let mostMessageBytes = 16 << 20
    private static let mostHeaderBytes = 64 << 10
    /// How long mail waits that a `closed` program was not asked about, seconds.
    private static let closedDelay: Int64 = 60

    package let name: String
    package let hooks: HookSet
    let endpoint: HookSettings.Endpoint
    private let client: HTTPClient
    private let threads: BlockingThreads
    private let log: LogSink
    private let breaker: Mutex<Breaker>

    /// - Parameter threads: calls of `client` block.
    package init(_ endpoint: HookSettings.Endpoint, client: HTTPClient, threads: BlockingThreads, log: LogSink) {
        self.endpoint = endpoint
        self.client = client
        self.threads = threads
        self.log = log
        name = endpoint.name
        hooks = endpoint.hooks
        breaker = Mutex(Breaker(limit: endpoint.breakerFailures, pause: Int64(endpoint.breakerPause) * 1000))
    }

    package func queueOutbound(_ envelope: inout Envelope, _ contents: MessageContents) async -> QueueOutboundAnswer {
        guard let (answer, changed) = await answer(to: envelope, contents) else {
            let reply = Reply(451, EnhancedStatus(4, 3, 0), "a policy program is not available, try again later")
            return isClosed(.queueOutbound) ? .reject(reply) : .next
        }
        envelope = changed
        return answer
    }

    /// What it says of a message that is about to be queued, and the envelope as it wants it.
    ///
    /// - Returns: nil when there is no answer that can be used.
    package func answer(
        to envelope: Envelope,
        _ contents: MessageContents
    ) async -> (QueueOutboundAnswer, Envelope)? {
        var question = HookQuestion.queueOutbound(envelope, size: contents.size)
        await add(contents, to: &question)
        return await ask(.queueOutbound, question, nil) { reply throws(HookFault) in
            var changed = envelope
            return (try reply.queueOutbound(&changed), changed)
        }
    }

    package func sendEmail(_ mail: HMail) async -> SendEmailAnswer {
        let answer = await ask(.sendEmail, HookQuestion(.sendEmail, mail), mail) { reply throws(HookFault) in
            try reply.sendEmail()
        }
        return answer ?? (isClosed(.sendEmail) ? .delay(.seconds(Self.closedDelay)) : .next)
    }

    package func getMX(_ mail: HMail, domain: Domain) async -> GetMXAnswer {
        let answer = await ask(.getMX, HookQuestion(.getMX, mail, domain: domain), mail) { reply throws(HookFault) in
            try reply.getMX()
        }
        guard answer == nil, isClosed(.getMX) else { return answer ?? .next }
        return .tryLater("the program \(name) gave no answer to get_mx", counts: false)
    }

    package func deferred(_ mail: HMail, _ notice: DeferredNotice) async -> DeferredAnswer {
        await ask(.deferred, .deferred(mail, notice), mail) { reply throws(HookFault) in try reply.deferred() }
            ?? .next
    }

    package func bounce(_ mail: HMail, _ notice: BounceNotice) async -> BounceAnswer {
        await ask(.bounce, .bounce(mail, notice), mail) { reply throws(HookFault) in try reply.bounce() } ?? .next
    }

    package func delivered(_ mail: HMail, _ notice: DeliveredNotice) async {
        // The answer has no effect, whatever it says.
        _ = await ask(.delivered, .delivered(mail, notice), mail) { _ throws(HookFault) in true }
    }

    package func connect(_ guest: Guest) async -> ReceptionAnswer { await receive(.connect, guest) }
    package func mail(_ guest: Guest) async -> ReceptionAnswer { await receive(.mail, guest) }
    package func rcpt(_ guest: Guest) async -> ReceptionAnswer { await receive(.rcpt, guest) }

    private func receive(_ hook: Hook, _ guest: Guest) async -> ReceptionAnswer {
        let answer = await ask(hook, .receive(hook, guest), nil) { reply throws(HookFault) in try reply.receive(hook)
        }
        guard answer == nil, isClosed(hook) else { return answer ?? .next }
        return .reject(Reply(451, EnhancedStatus(4, 3, 0), "a policy program is not available, try again later"))
    }

    private func isClosed(_ hook: Hook) -> Bool { endpoint.closed.has(hook) }
}

// MARK: - One question

extension HookProgram {
    /// Asks and reads the answer.
    ///
    /// - Returns: nil when there is none that can be used, or the program is left alone for now.
    private func ask<Answer: Sendable>(
        _ hook: Hook,
        _ question: HookQuestion,
        _ mail: HMail?,
        _ read: @escaping @Sendable (HookReply) throws(HookFault) -> Answer
    ) async -> Answer? {
        guard breaker.withLock({ $0.mayAsk(at: .now()) }) else {
            HookMetrics.count(.skipped, of: hook)
            return nil
        }
        do throws(HookFault) {
            let reply = hook == .delivered ? try await taken(question) : try HookReply.read(try await post(question))
            let answer = try read(reply)
            if breaker.withLock({ $0.succeeded() }) {
                log.write(.notice, "hook program answers again") { $0.add(.plugin, name) }
            }
            return answer
        } catch {
            HookMetrics.count(error.kind, of: hook)
            let opens = breaker.withLock { $0.failed(at: .now()) }
            report(hook, mail, error, opens)
            return nil
        }
    }

    private func taken(_ question: HookQuestion) async throws(HookFault) -> HookReply {
        _ = try await post(question)
        return HookReply(code: .CONT)
    }

    /// The body of the answer.
    private func post(_ question: HookQuestion) async throws(HookFault) -> [UInt8] {
        var request = HTTPRequest(
            "POST",
            endpoint.url,
            headers: [("Content-Type", "application/json"), ("Accept", "application/json")],
            body: question.value.bytes,
            unixSocket: endpoint.unixSocket
        )
        request.maxResponseBytes = Self.mostAnswerBytes
        let limit = Duration.seconds(endpoint.timeout)
        let begin = ContinuousClock.now
        let (client, threads) = (client, threads)
        let result: Result<HTTPResponse, HTTPError> = await withCheckedContinuation { [request] waiter in
            threads.run {
                // The wait for a thread counts.
                var request = request
                request.timeout = limit - (ContinuousClock.now - begin)
                guard request.timeout > .zero else {
                    return waiter.resume(returning: .failure(HTTPError(.timedOut, "all threads for hooks are busy")))
                }
                do throws(HTTPError) {
                    waiter.resume(returning: .success(try client.send(request)))
                } catch {
                    waiter.resume(returning: .failure(error))
                }
            }
        }
        switch result {
        case .failure(let error): throw HookFault(error)
        case .success(let response):
            guard response.status == 200 || response.status == 204 else {
                throw HookFault("the program answered with HTTP status \(response.status)")
            }
            return response.body
        }
    }

    /// As much of the message as the program wants to see.
    private func add(_ contents: MessageContents, to question: inout HookQuestion) async {
        guard endpoint.contents != .none else { return }
        let limit = endpoint.contents == .header ? Self.mostHeaderBytes : Self.mostMessageBytes
        var bytes: [UInt8] = []
        while bytes.count < limit {
            guard let part = try? await contents.read(from: bytes.count, atMost: limit - bytes.count), !part.isEmpty
            else { break }
            bytes += part
        }
        if endpoint.contents == .message {
            question.add(bytes, as: "message")
        } else {
            question.add(Array(bytes.prefix(bytes.withUnsafeBytes { HeaderBlock.size(in: $0) })), as: "header")
        }
    }

    private func report(_ hook: Hook, _ mail: HMail?, _ fault: HookFault, _ opens: Bool) {
        log.write(.warning, "hook program failed") { line in
            if let mail { line.add(.id, mail.id.description) }
            line.add(.plugin, name)
            line.add(.hook, hook.rawValue)
            line.add(.reason, fault.reason)
        }
        guard opens else { return }
        log.write(.error, "hook program is left alone for a while") { line in
            line.add(.plugin, name)
            line.add(.delay, seconds: Int64(endpoint.breakerPause) * 1000)
        }
    }
}
