// WebhookSenderTests.swift — the sender against a receiver on loopback, over a history in memory.

import Config
import DNS
import Departure
import HTTPClient
import History
import JSON
import Log
import Loop
import Mail
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import Webhooks

@Suite(.serialized) struct WebhookSenderTests {
    /// A sender with what it stands on.
    private final class House: Sendable {
        let history: FakeHistory
        let sender: WebhookSender
        private let threads = NIOThreadPool(numberOfThreads: 1)
        private let web = NIOThreadPool(numberOfThreads: 4)

        init(_ history: FakeHistory = FakeHistory()) {
            self.history = history
            threads.start()
            web.start()
            let resolver = InForce<any DNS.Resolver>(StaticResolver())
            sender = WebhookSender(
                WebhookSender.Parts(
                    events: history,
                    courier: Courier(WebFetch(HTTPClient(), on: web, count: 4), resolver: resolver),
                    threads: threads,
                    loop: MultiThreadedEventLoopGroup.singleton.next(),
                    log: LogSink(descriptor: -1)
                )
            )
            sender.start()
        }

        func use(_ endpoint: WebhookSettings.Endpoint) {
            var settings = WebhookSettings()
            settings.endpoints = [endpoint]
            sender.apply(settings)
        }

        func stop() async { await sender.stop(patience: 2000) }
    }

    private static func endpoint(
        _ server: HTTPServer,
        _ change: (inout WebhookSettings.Endpoint) -> Void = { _ in }
    )
        -> WebhookSettings.Endpoint
    {
        var endpoint = WebhookSettings.Endpoint(name: "shop")
        endpoint.url = "http://127.0.0.1:\(server.port)/hook?token=t0ken"
        endpoint.allowsPrivate = true
        endpoint.keys = [WebhookSettings.Key(octets: Array(0..<32))]
        (endpoint.retryFirst, endpoint.retryMax) = (1, 1)
        change(&endpoint)
        return endpoint
    }

    private static func until(_ what: String, _ isSo: () -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(600)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        while !isSo() {
            try #require(ContinuousClock.now < end, "not in time: \(what)")
            try await loop.scheduleTask(in: .milliseconds(5)) {}.futureResult.get()
        }
    }

    private static func recipients(_ requests: [String]) -> [String] {
        requests.compactMap { request in
            let body = request.components("\r\n\r\n").last ?? ""
            return (try? JSON(parsing: Array(body.utf8)))?["data"]?["recipient"]?.string
        }
    }

    @Test func takesEventsInOrderAndGoesOnWhereItWas() async throws {
        let server = try HTTPServer { _ in HTTPServer.ok("") }
        defer { server.stop() }
        let history = FakeHistory()
        history.deliver(to: ["before@b.test"])
        let first = House(history)
        first.use(Self.endpoint(server))
        history.deliver(to: ["1@b.test", "2@b.test", "3@b.test"])
        try await Self.until("three requests") { server.requests.count == 3 }
        await first.stop()
        #expect(Self.recipients(server.requests) == ["1@b.test", "2@b.test", "3@b.test"])
        history.deliver(to: ["4@b.test"])
        let second = House(history)
        second.use(Self.endpoint(server))
        try await Self.until("the fourth") { server.requests.count == 4 }
        await second.stop()
        #expect(Self.recipients(server.requests).last == "4@b.test")
        #expect(second.sender.status("shop")?["lag"]?.integer == 0)
    }

    @Test func signsAndNamesEveryBody() async throws {
        let server = try HTTPServer { _ in HTTPServer.ok("") }
        defer { server.stop() }
        let house = House()
        house.use(Self.endpoint(server) { $0.keys.append(WebhookSettings.Key(octets: Array(1..<33))) })
        house.history.deliver(to: ["1@b.test"])
        try await Self.until("a request") { !server.requests.isEmpty }
        await house.stop()
        let request = try #require(server.requests.first)
        let parts = request.components("\r\n\r\n")
        let fields = parts[0].components("\r\n")
        func field(_ name: String) -> String? {
            fields.first { $0.hasPrefix("\(name): ") }.map { String($0.dropFirst(name.count + 2)) }
        }
        #expect(fields[0] == "POST /hook?token=t0ken HTTP/1.1")
        #expect(field("Host") == "127.0.0.1:\(server.port)")
        #expect(field("webhook-id") == "evt_e_1")
        let seconds = try #require(field("webhook-timestamp").flatMap { Int64($0) })
        let expected = Signature(
            id: "evt_e_1",
            at: Timestamp(milliseconds: seconds * 1000),
            body: Array(parts[1].utf8),
            keys: [WebhookSettings.Key(octets: Array(0..<32)), WebhookSettings.Key(octets: Array(1..<33))]
        )
        #expect(field("webhook-signature") == expected.signatures)
    }

    @Test func triesAgainWithTheSameIdAndInOrder() async throws {
        let answers = Mutex(["500 No", "502 No", "200 OK"])
        let server = try HTTPServer { _ in
            let answer = answers.withLock { $0.count > 1 ? $0.removeFirst() : $0[0] }
            return "HTTP/1.1 \(answer)\r\nContent-Length: 0\r\n\r\n"
        }
        defer { server.stop() }
        let house = House()
        house.use(Self.endpoint(server))
        house.history.deliver(to: ["1@b.test", "2@b.test"])
        try await Self.until("four requests") { server.requests.count == 4 }
        await house.stop()
        #expect(Self.recipients(server.requests) == ["1@b.test", "1@b.test", "1@b.test", "2@b.test"])
        let deliveries = try #require(house.sender.deliveries("shop", atMost: 10))
        #expect(deliveries.map { $0["result"]?.string } == ["taken", "taken", "failed", "failed"])
        #expect(deliveries.map { $0["attempt"]?.integer } == [1, 3, 2, 1])
    }

    @Test func oneThatIsGoneIsOffAndSaysSoWithoutItsURL() async throws {
        let isGone = Atomic(true)
        let server = try HTTPServer { _ in
            isGone.load(ordering: .relaxed)
                ? "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n" : HTTPServer.ok("")
        }
        defer { server.stop() }
        let house = House()
        house.use(Self.endpoint(server) { $0.types = ["delivery.*"] })
        house.history.deliver(to: ["1@b.test", "2@b.test"])
        try await Self.until("it is off") { house.sender.status("shop")?["state"]?.string == "disabled" }
        try await Self.until("the event") { house.history.span.newest == 3 }
        let event = try #require(house.history.state.withLock { $0.events.last })
        #expect(event.type == .webhookDisabled && event.data.subject == "shop" && event.data.text == "answered 410")
        #expect(server.requests.count == 1)
        isGone.store(false, ordering: .relaxed)
        #expect(house.sender.enable("shop"))
        try await Self.until("both are taken") { house.sender.status("shop")?["taken"]?.integer == 2 }
        await house.stop()
        #expect(Self.recipients(server.requests) == ["1@b.test", "1@b.test", "2@b.test"])
    }

    @Test func fillsBodiesAndFindsTheOneThatIsNotWanted() async throws {
        let server = try HTTPServer { request in
            request.contains("bad@b.test") ? "HTTP/1.1 406 No\r\nContent-Length: 0\r\n\r\n" : HTTPServer.ok("")
        }
        defer { server.stop() }
        let house = House()
        house.use(Self.endpoint(server) { $0.batch = 3 })
        house.history.deliver(to: ["1@b.test", "bad@b.test", "2@b.test", "3@b.test"])
        try await Self.until("all but one are taken") { house.sender.status("shop")?["taken"]?.integer == 3 }
        await house.stop()
        #expect(house.sender.status("shop")?["dropped"]?.integer == 1)
        #expect(house.sender.status("shop")?["lag"]?.integer == 0)
    }

    @Test func anInnerAddressIsNotAskedAndNothingShowsTheURL() async throws {
        let server = try HTTPServer { _ in HTTPServer.ok("") }
        defer { server.stop() }
        let house = House()
        house.use(Self.endpoint(server) { $0.allowsPrivate = false })
        house.history.deliver(to: ["1@b.test"])
        try await Self.until("a failure") { house.sender.status("shop")?["failures"]?.integer ?? 0 > 0 }
        let test = try #require(await house.sender.test("shop"))
        #expect(test["ok"]?.bool == false && test["error"]?.string == "address")
        await house.stop()
        #expect(server.connections == 0)
        let shown = "\(house.sender.status("shop")?.text ?? "")\(house.sender.deliveries("shop", atMost: 9) ?? [])"
        #expect(shown.contains("allow_private") && !shown.contains("t0ken"))
    }

    @Test func nobodyListensAndNothingShowsTheURL() async throws {
        let server = try HTTPServer { _ in "nonsense" }
        let house = House()
        house.use(Self.endpoint(server))
        house.history.deliver(to: ["1@b.test"])
        try await Self.until("a failure") { house.sender.status("shop")?["failures"]?.integer ?? 0 > 0 }
        server.stop()
        await house.stop()
        let error = try #require(house.sender.status("shop")?["last_error"]?.string)
        #expect(error.contains("127.0.0.1:\(server.port)") && !error.contains("t0ken"), "\(error)")
    }

    @Test func replaysWithTheOldIds() async throws {
        let server = try HTTPServer { _ in HTTPServer.ok("x", headers: "X: \(String(repeating: "y", count: 100))\r\n") }
        defer { server.stop() }
        let house = House()
        house.history.deliver(to: ["1@b.test", "2@b.test", "3@b.test"])
        house.use(Self.endpoint(server))
        #expect(house.sender.replay("shop", 2...99) == .begun(2...3))
        try await Self.until("two requests") { server.requests.count == 2 }
        #expect(house.sender.replay("shop", 90...99) == .empty)
        #expect(house.sender.replay("nobody", 1...2) == .refused)
        let all = try house.sender.numbers(from: Timestamp(milliseconds: 0), to: nil)
        #expect(all == 1...3)
        #expect(try house.sender.numbers(from: .now().adding(milliseconds: 60_000), to: nil) == nil)
        await house.stop()
        #expect(server.requests.map { $0.contains("webhook-id: evt_e_2") } == [true, false])
    }

    @Test func aLongAnswerIsCutAndCounts() async throws {
        let server = try HTTPServer { _ in HTTPServer.ok(String(repeating: "z", count: 200_000)) }
        defer { server.stop() }
        let house = House()
        house.use(Self.endpoint(server))
        house.history.deliver(to: ["1@b.test"])
        try await Self.until("it is taken") { house.sender.status("shop")?["taken"]?.integer == 1 }
        await house.stop()
    }

    @Test func aHistoryThatIsGoneIsToldAndGoneOnFrom() async throws {
        let server = try HTTPServer { _ in HTTPServer.ok("") }
        defer { server.stop() }
        let house = House()
        house.use(Self.endpoint(server) { $0.isEnabled = false })
        house.history.deliver(to: ["1@b.test", "2@b.test", "3@b.test"])
        house.history.state.withLock { $0.oldest = 3 }
        house.use(Self.endpoint(server))
        try await Self.until("the third") { !server.requests.isEmpty }
        await house.stop()
        #expect(Self.recipients(server.requests) == ["3@b.test"])
    }

    @Test(arguments: [
        ("120", 120), (" 7 ", 7), ("Thu, 01 Jan 1970 00:02:00 GMT", 60), ("Thu, 01 Jan 1970 00:00:30 GMT", 0),
    ])
    func readsRetryAfter(_ text: String, _ seconds: Int64) {
        #expect(Courier.seconds(text, at: Timestamp(milliseconds: 60_000)) == seconds)
    }

    @Test(arguments: ["", "soon", "-1", "1e9", "Thursday, 01-Jan-70 00:00:30 GMT", "Thu, 31 Feb 2026 00:00:00 GMT"])
    func readsNoOtherRetryAfter(_ text: String) {
        #expect(Courier.seconds(text, at: Timestamp(milliseconds: 60_000)) == nil)
    }
}

extension String {
    fileprivate func components(_ separator: String) -> [String] {
        var parts: [String] = []
        var rest = Substring(self)
        while let range = rest.firstRange(of: separator) {
            parts.append(String(rest[..<range.lowerBound]))
            rest = rest[range.upperBound...]
        }
        return parts + [String(rest)]
    }
}
