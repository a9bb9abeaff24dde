// PluginChainTests.swift — order, first answer, deadlines, and answers that cannot be used. No clock: a test ends the wait.

import Glibc
import Log
import Mail
import Synchronization
import Testing

@testable import Hooks

/// A plugin that answers what a test says and counts what it was asked.
private final class Answering: Plugin {
    let name: String
    let hooks: HookSet
    private let asked = Atomic<Int>(0)
    private let send: SendEmailAnswer
    private let mx: GetMXAnswer
    private let queue: QueueOutboundAnswer
    private let later: DeferredAnswer
    private let report: BounceAnswer
    private let edit: @Sendable (inout Envelope) -> Void
    /// Never returns before its task is cancelled.
    private let hangs: Bool

    init(
        _ name: String = "answering",
        hooks: HookSet = HookSet(Hook.allCases),
        send: SendEmailAnswer = .next,
        mx: GetMXAnswer = .next,
        queue: QueueOutboundAnswer = .next,
        later: DeferredAnswer = .next,
        report: BounceAnswer = .next,
        hangs: Bool = false,
        edit: @escaping @Sendable (inout Envelope) -> Void = { _ in }
    ) {
        self.name = name
        self.hooks = hooks
        self.send = send
        self.mx = mx
        self.queue = queue
        self.later = later
        self.report = report
        self.hangs = hangs
        self.edit = edit
    }

    var count: Int { asked.load(ordering: .relaxed) }

    private func take() async {
        asked.add(1, ordering: .relaxed)
        if hangs { await untilCancelled() }
    }

    func queueOutbound(_ envelope: inout Envelope, _ contents: MessageContents) async -> QueueOutboundAnswer {
        await take()
        edit(&envelope)
        return queue
    }
    func sendEmail(_ mail: HMail) async -> SendEmailAnswer {
        await take()
        return send
    }
    func getMX(_ mail: HMail, domain: Domain) async -> GetMXAnswer {
        await take()
        return mx
    }
    func deferred(_ mail: HMail, _ notice: DeferredNotice) async -> DeferredAnswer {
        await take()
        return later
    }
    func bounce(_ mail: HMail, _ notice: BounceNotice) async -> BounceAnswer {
        await take()
        return report
    }
    func delivered(_ mail: HMail, _ notice: DeliveredNotice) async { await take() }
}

private func untilCancelled() async {
    let (stream, continuation) = AsyncStream<Void>.makeStream()
    for await _ in stream {}
    continuation.finish()
}

@Suite(.timeLimit(.minutes(1))) struct PluginChainTests {
    private static let log = LogSink(descriptor: open("/dev/null", O_WRONLY), level: .debug)
    private let failure = Failure(.host, at: .connect, Reply(451, EnhancedStatus(4, 4, 1), "refused"))
    private let domain = Domain(unchecked: "b.test")
    private let id = QueueID(rawValue: 1)
    private let contents = MessageContents(size: 0) { _, _ throws(Failure) in [] }
    private let receipt = Receipt(reply: Reply(250, nil, "ok"), host: "h", ip: nil, port: 25)

    private func mail() throws -> HMail {
        HMail(
            id: id,
            sender: .null,
            recipients: try envelope().recipients,
            domain: domain,
            failures: 0,
            queuedAt: Timestamp(milliseconds: 0)
        )
    }

    private func envelope() throws -> Envelope {
        Envelope(sender: .null, recipients: [Recipient(try #require(EmailAddress("b@b.test")))])
    }

    /// - Parameter isPatient: whether plugins get the time they want; otherwise every deadline has passed at once.
    private func chain(_ plugins: [any Plugin], isPatient: Bool = true) -> PluginChain {
        PluginChain(plugins, log: Self.log, deadline: { .seconds(600) }) { _ in
            if isPatient { await untilCancelled() }
        }
    }

    private var deferral: DeferredNotice {
        DeferredNotice(delay: .seconds(64), error: failure, hosts: [failure], recipients: [], mx: nil)
    }

    private var bounce: BounceNotice {
        BounceNotice(error: failure, mx: nil, deferredRecipients: [], bouncedRecipients: [])
    }

    @Test func asksNobodyWithoutPlugins() async throws {
        let chain = chain([])
        #expect(Hook.allCases.allSatisfy { !chain.asks(HookSet($0)) })
        #expect(await chain.sendEmail(try mail()) == .next)
        #expect(await chain.getMX(try mail(), domain: domain) == .next)
    }

    @Test func asksOnlyForTheHooksThatAPluginServes() async throws {
        let plugin = Answering(hooks: .deferred, send: .delay(.seconds(9)))
        let chain = chain([plugin])
        #expect(chain.asks(.deferred) && chain.asks(.failures))
        #expect(!chain.asks(.sendEmail) && !chain.asks(.preparation))
        #expect(await chain.sendEmail(try mail()) == .next)
        #expect(plugin.count == 0)
    }

    @Test func theFirstAnswerThatIsNotNextWins() async throws {
        let plugins = [
            Answering("a"), Answering("b", send: .delay(.seconds(5)), mx: .reject("b")),
            Answering("c", send: .delay(.seconds(7)), mx: .tryLater("c")),
        ]
        let chain = chain(plugins)
        #expect(await chain.sendEmail(try mail()) == .delay(.seconds(5)))
        #expect(await chain.getMX(try mail(), domain: domain) == .reject("b"))
        #expect(plugins.map(\.count) == [2, 2, 0])
    }

    @Test func aMissedDeadlineHasItsDocumentedResult() async throws {
        let plugin = Answering(
            send: .delay(.seconds(5)),
            mx: .reject("no"),
            queue: .taken,
            later: .drop,
            report: .suppress,
            hangs: true
        )
        let chain = chain([plugin], isPatient: false)
        var envelope = try envelope()
        if case .reject(let reply) = await chain.queueOutbound(&envelope, contents, id: id) {
            #expect(reply.code == 451)
        } else {
            Issue.record("queue_outbound does not reject")
        }
        #expect(await chain.sendEmail(try mail()) == .next)
        if case .tryLater = await chain.getMX(try mail(), domain: domain) {} else { Issue.record("get_mx goes on") }
        #expect(await chain.deferred(try mail(), deferral) == .next)
        #expect(await chain.bounce(try mail(), bounce) == .next)
        await chain.delivered(try mail(), DeliveredNotice(receipt, delay: .zero, recipients: []))
        #expect(plugin.count <= 6)
    }

    @Test func everyPluginIsToldOfADelivery() async throws {
        let plugins = [Answering("a"), Answering("b")]
        await chain(plugins).delivered(try mail(), DeliveredNotice(receipt, delay: .zero, recipients: []))
        #expect(plugins.map(\.count) == [1, 1])
    }

    @Test func changesOfTheEnvelopeReachTheNextPluginAndTheCaller() async throws {
        let first = Answering("a") { $0.notes.outboundIP = IPAddress("192.0.2.1") }
        let second = Answering("b") { envelope in
            if envelope.notes.outboundIP != nil { envelope.notes.values["seen"] = "yes" }
        }
        var envelope = try envelope()
        let answer = await chain([first, second]).queueOutbound(&envelope, contents, id: id)
        #expect(answer == .next)
        #expect(envelope.notes.outboundIP == IPAddress("192.0.2.1") && envelope.notes.values == ["seen": "yes"])
    }

    @Test(arguments: [true, false]) func anEnvelopeThatCannotBeQueuedIsRefusedForNow(tooLarge: Bool) async throws {
        let plugin = Answering { envelope in
            if tooLarge {
                envelope.notes.values["x"] = String(repeating: "x", count: 9000)
            } else {
                envelope.recipients = []
            }
        }
        var envelope = try envelope()
        if case .reject(let reply) = await chain([plugin]).queueOutbound(&envelope, contents, id: id) {
            #expect(reply.code == 451 && envelope.recipients.count == 1)
        } else {
            Issue.record("queued")
        }
    }

    @Test func delaysAreBounded() async throws {
        #expect(await chain([Answering(send: .delay(.seconds(-5)))]).sendEmail(try mail()) == .delay(.seconds(1)))
        let long = chain([Answering(later: .delay(.seconds(1_000_000_000_000)))])
        #expect(await long.deferred(try mail(), deferral) == .delay(PluginChain.delays.upperBound))
    }

    @Test func wordsOfAPluginCannotBreakTheProtocol() async throws {
        let reply = Reply(200, nil, "fine\r\n250 really\u{7}é")
        var envelope = try envelope()
        let chain = chain([Answering(mx: .reject("a\r\nb"), queue: .reject(reply))])
        let answer = await chain.queueOutbound(&envelope, contents, id: id)
        #expect(answer == .reject(Reply(550, EnhancedStatus(5, 7, 1), "fine??250 really???")))
        #expect(await chain.getMX(try mail(), domain: domain) == .reject("a??b"))
    }

    @Test func anEmptyListOfHostsIsNoAnswer() async throws {
        let chain = chain([Answering("a", mx: .use([])), Answering("b", mx: .use([MX("h.test")]))])
        #expect(await chain.getMX(try mail(), domain: domain) == .use([MX("h.test")]))
    }

    @Test func otherPluginsCanBeUsedWhileRunning() async throws {
        let chain = chain([])
        chain.use([Answering(send: .delay(.seconds(3)))])
        #expect(chain.asks(.preparation))
        #expect(await chain.sendEmail(try mail()) == .delay(.seconds(3)))
        chain.use([])
        #expect(!chain.asks(.preparation))
        #expect(await chain.sendEmail(try mail()) == .next)
    }
}
