// PluginTests.swift — what the answers of a plugin do to mail on its way: hosts, delays, drops, reports.

import Hooks
import Mail
import Queue
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Delivery

/// Answers what a test says, and keeps what it was told.
private final class Teller: Plugin {
    let name = "teller"
    let hooks: HookSet
    private let send: SendEmailAnswer
    private let mx: GetMXAnswer
    private let later: DeferredAnswer
    private let report: BounceAnswer
    private let heard = Mutex<[String]>([])

    init(
        _ hooks: HookSet,
        send: SendEmailAnswer = .next,
        mx: GetMXAnswer = .next,
        later: DeferredAnswer = .next,
        report: BounceAnswer = .next
    ) {
        self.hooks = hooks
        self.send = send
        self.mx = mx
        self.later = later
        self.report = report
    }

    var words: [String] { heard.withLock { $0 } }

    func sendEmail(_ mail: HMail) async -> SendEmailAnswer { send }

    func getMX(_ mail: HMail, domain: Domain) async -> GetMXAnswer {
        heard.withLock { $0.append("get_mx \(domain) \(mail.recipients.map(\.address.description))") }
        return mx
    }

    func deferred(_ mail: HMail, _ notice: DeferredNotice) async -> DeferredAnswer {
        heard.withLock { heard in
            heard.append("deferred \(mail.failures) \(notice.delay)")
            heard += notice.hosts.map { "host \($0.stage) \($0.remote ?? "")" }
        }
        return later
    }

    func bounce(_ mail: HMail, _ notice: BounceNotice) async -> BounceAnswer {
        let mx = notice.mx.map { "\($0.port)" } ?? "nobody"
        heard.withLock {
            $0.append("bounce \(notice.bouncedRecipients.count) \(notice.deferredRecipients.count) by \(mx)")
        }
        return report
    }

    func delivered(_ mail: HMail, _ notice: DeliveredNotice) async {
        heard.withLock { $0.append("delivered \(notice.recipients.map(\.address.description)) \(notice.port)") }
    }
}

@Suite(.timeLimit(.minutes(1))) struct PluginTests {
    @Test func hostsOfGetMXAreWhereMailGoesAndDomainsShareThem() async throws {
        let peer = try await LoopbackPeer()
        let plugin = Teller(.getMX, mx: .use([peer.mx]))
        var options = MailQueue.Options()
        options.concurrencyPerLane = 1
        let house = try House(queueOptions: options, plugins: [plugin])
        var ids = [try await house.accept(to: ["b@y.test", "c@z.test"])]
        for number in 0..<20 { ids.append(try await house.accept(to: ["b@d\(number).test"])) }
        for id in ids { await house.settled(id) }
        #expect(peer.messages.count == 22)
        #expect(peer.connections == 1)
        #expect(plugin.words.contains(#"get_mx y.test ["b@y.test"]"#))
        #expect(plugin.words.contains(#"get_mx z.test ["c@z.test"]"#))
        await house.stop()
    }

    @Test func aRejectionOfGetMXBouncesWithItsReason() async throws {
        let house = try House(plugins: [Teller(.getMX, mx: .reject("no way to go there"))])
        let id = try await house.accept(to: ["b@y.test"])
        await house.store.wait { records in records.contains(.settled(id)) }
        #expect(house.reports.first?.contains("no way to go there") == true)
        await house.stop()
    }

    @Test func aDelayOfSendEmailCountsAsNoFailure() async throws {
        let house = try House(plugins: [Teller(.sendEmail, send: .delay(.seconds(600)))])
        let id = try await house.accept(to: ["b@y.test"])
        let state = await house.deferred(id)
        #expect(state?.waiting.map(\.failures) == [0])
        #expect(house.queue.counts.tempFailed == 1)
        await house.stop()
    }

    @Test func deferredHearsOfEveryHostAndDrops() async throws {
        let peer = try await LoopbackPeer { line, _ in line.isEmpty ? "421 4.3.2 busy!" : nil }
        let dead = MX("127.0.0.1", port: 1)
        let plugin = Teller(.deferred, later: .drop)
        let house = try House(routes: ["*": [dead, MX("127.0.0.1", port: peer.port, priority: 10)]], plugins: [plugin])
        let id = try await house.accept(to: ["b@y.test"])
        await house.settled(id)
        #expect(
            plugin.words == [
                "deferred 1 64.0 seconds", "host connect 127.0.0.1[127.0.0.1]:1",
                "host greeting 127.0.0.1[127.0.0.1]:\(peer.port)",
            ]
        )
        #expect(house.reports.isEmpty)
        await house.stop()
    }

    /// Out of reach, or asked for: no failure, and `num_failures` stays.
    @Test func failuresAreCountedWhereTheyAre() async throws {
        let peer = try await LoopbackPeer { line, _ in line.hasPrefix("RCPT") ? "450 4.2.1 later" : nil }
        let plugin = Teller(.deferred)
        let house = try House(
            routes: ["away.test": [MX("127.0.0.1", port: 1)], "*": [peer.mx]],
            plugins: [plugin]
        )
        _ = await house.deferred(try await house.accept(to: ["b@away.test"]))
        #expect(plugin.words.first == "deferred 0 64.0 seconds")
        let id = try await house.accept(to: ["b@y.test"])
        _ = await house.deferred(id)
        #expect(plugin.words.last { $0.hasPrefix("deferred") } == "deferred 1 64.0 seconds")
        #expect(house.queue.retry(id) == .done)
        await house.store.wait { $0.filter { $0.isState(of: id) }.count == 2 }
        #expect(plugin.words.filter { $0.hasPrefix("deferred 1 ") }.count == 2)
        guard case .state(_, let state) = house.store.records.last(where: { $0.isState(of: id) }) else { return }
        #expect(state.waiting.map(\.failures) == [1])
        await house.stop()
    }

    @Test func deferredChangesTheDelay() async throws {
        let peer = try await LoopbackPeer { line, _ in line.hasPrefix("RCPT") ? "450 4.2.1 later" : nil }
        let house = try House(
            routes: ["*": [peer.mx]],
            plugins: [Teller(.deferred, later: .delay(.seconds(7200)))]
        )
        let id = try await house.accept(to: ["b@y.test"])
        _ = await house.deferred(id)
        #expect(house.logLines.contains { $0.contains(" delivery deferred ") && $0.contains("delay_s=7200") })
        await house.stop()
    }

    @Test func bounceSuppressesTheReport() async throws {
        let peer = try await LoopbackPeer { line, _ in line.hasPrefix("RCPT") ? "550 5.1.1 no" : nil }
        let plugin = Teller(.bounce, report: .suppress)
        let house = try House(routes: ["*": [peer.mx]], plugins: [plugin])
        let id = try await house.accept(to: ["b@y.test"])
        await house.settled(id)
        #expect(plugin.words == ["bounce 1 0 by \(peer.port)"])
        #expect(house.reports.isEmpty)
        #expect(house.logLines.contains { $0.contains("none, suppressed by a plugin") })
        await house.stop()
    }
}
