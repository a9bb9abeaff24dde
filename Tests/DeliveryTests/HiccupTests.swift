// HiccupTests.swift — what follows when TLS that is only a wish comes to nothing: another moment, another host, and the clear
// last; never a bounce for want of TLS.

import Config
import Mail
import OpenSSL
import Queue
import Storage
import Testing

@testable import Delivery

struct HiccupTests {
    private static let context = Result {
        try TLSContext(server: .init(certificate: .make(.init(names: ["peer.test"]))))
    }

    /// A host that offers STARTTLS.
    private func peer(_ answer: @escaping LoopbackPeer.Answer) async throws -> LoopbackPeer {
        try await LoopbackPeer(tls: Self.context.get(), answer: answer)
    }

    private func house(_ hosts: [LoopbackPeer], patience: Int) throws -> House {
        try House(routes: ["*": hosts.map(\.mx)]) { settings in
            settings.outbound.isTLSEnabled = true
            settings.outbound.tlsFallbackAfter = patience
        }
    }

    /// The handshake comes to nothing, or STARTTLS is refused, or the server leaves right behind the handshake.
    private static let hiccups = ["STARTTLS 220 go!", "STARTTLS 454 4.7.0 not now", "STARTTLS 502 5.5.1 no"]

    /// What a hiccup makes of a line; nil: the usual.
    private static func trouble(_ hiccup: String, _ line: String) -> String? {
        let words = hiccup.split(separator: " ", maxSplits: 1).map(String.init)
        guard line.hasPrefix(words[0]) else { return nil }
        // An answer of its own for EHLO inside TLS: none, and the connection is closed.
        return words[0] == "EHLO" ? nil : words[1]
    }

    @Test(arguments: hiccups.prefix(3))
    func onePassingHiccupCostsNoProtection(_ hiccup: String) async throws {
        let peer = try await peer { line, connection in
            if line.hasPrefix("MAIL"), connection > 2 { return "530 5.7.0 Must issue a STARTTLS command first" }
            return connection == 1 ? Self.trouble(hiccup, line) : nil
        }
        let house = try house([peer], patience: 1)
        await house.settled(try await house.accept(to: ["b@y.test"]))
        #expect(peer.messages.map(\.isEncrypted) == [true])
        #expect(peer.connections == 2)
        #expect(house.reports.isEmpty)
        await house.stop()
    }

    @Test(arguments: hiccups.prefix(3))
    func theNextHostComesBeforeTheClear(_ hiccup: String) async throws {
        let broken = try await peer { line, _ in Self.trouble(hiccup, line) }
        let whole = try await peer { _, _ in nil }
        let house = try house([broken, whole], patience: 0)
        for number in 1...2 {
            await house.settled(try await house.accept(to: ["b\(number)@y.test"]))
        }
        #expect(whole.messages.map(\.isEncrypted) == [true, true])
        #expect(broken.messages.isEmpty && !broken.lines.contains { $0.hasPrefix("MAIL") })
        await house.stop()
    }

    @Test(arguments: hiccups.prefix(3))
    func mailArrivesWhereTLSIsBrokenForGood(_ hiccup: String) async throws {
        let peer = try await peer { line, _ in Self.trouble(hiccup, line) }
        let house = try house([peer], patience: 1)
        await house.settled(try await house.accept(to: ["b@y.test"]))
        #expect(peer.messages.map(\.isEncrypted) == [false])
        // TLS, a pause, TLS once more, the clear.
        #expect(peer.lines.count { $0 == "STARTTLS" } == 2)
        #expect(peer.connections == 3)
        await house.stop()
    }

    @Test func whatIsBrokenForGoodIsRemembered() async throws {
        let peer = try await peer { line, _ in line == "STARTTLS" ? "220 go!" : line == "." ? "250 ok!" : nil }
        let house = try house([peer], patience: 0)
        for number in 1...3 { await house.settled(try await house.accept(to: ["b\(number)@y.test"])) }
        #expect(peer.messages.count == 3)
        #expect(peer.lines.count { $0 == "STARTTLS" } == 1)
        await house.stop()
    }

    @Test(arguments: ["MAIL 530 5.7.0 Must issue a STARTTLS command first", "RCPT 550 5.7.10 Encryption needed"])
    func aServerThatWantsTLSBouncesNothing(_ refusal: String) async throws {
        let words = refusal.split(separator: " ", maxSplits: 1).map(String.init)
        let peer = try await peer { line, _ in
            if line == "STARTTLS" { return "454 4.7.0 not now" }
            return line.hasPrefix(words[0]) ? words[1] : nil
        }
        let house = try house([peer], patience: 0)
        for number in 1...2 {
            let state = await house.deferred(try await house.accept(to: ["b\(number)@y.test"]))
            #expect(state?.waiting.first?.failures == 1)
        }
        #expect(house.reports.isEmpty)
        // Who refused the clear once is not met there again.
        #expect(peer.lines.count { $0.hasPrefix(words[0]) } == 1)
        await house.stop()
    }

    @Test func aServerThatWantsTLSAndForgotToOfferItBouncesNothing() async throws {
        let peer = try await LoopbackPeer { line, _ in
            line.hasPrefix("MAIL") ? "530 5.7.0 Must issue a STARTTLS command first" : nil
        }
        let house = try house([peer], patience: 0)
        let state = await house.deferred(try await house.accept(to: ["b@y.test"]))
        #expect(state?.waiting.first?.failures == 1 && house.reports.isEmpty)
        await house.stop()
    }

    @Test func aRefusedRecipientWaitsWhereTLSFailed() async throws {
        let peer = try await peer { line, _ in
            if line == "STARTTLS" { return "454 4.7.0 not now" }
            return line.hasPrefix("RCPT TO:<no@") ? "550 5.1.1 no such user" : nil
        }
        let house = try house([peer], patience: 0)
        let state = await house.deferred(try await house.accept(to: ["no@y.test", "yes@y.test"]))
        #expect(state?.waiting.count == 1)
        #expect(peer.messages.map(\.to) == [["yes@y.test"]])
        #expect(house.reports.isEmpty)
        await house.stop()
    }

    /// One slot, and a host whose TLS is waited for: other mail goes meanwhile.
    @Test func aPauseHoldsNoSlot() async throws {
        let (askings, asking) = AsyncStream<Void>.makeStream()
        let broken = try await peer { line, _ in
            guard line == "STARTTLS" else { return nil }
            asking.yield()
            return "454 4.7.0 not now"
        }
        let whole = try await peer { _, _ in nil }
        var options = MailQueue.Options()
        options.concurrencyMax = 1
        let house = try House(routes: ["broken.test": [broken.mx], "*": [whole.mx]], queueOptions: options) {
            $0.outbound.isTLSEnabled = true
            $0.outbound.tlsFallbackAfter = 10
        }
        try await house.accept(to: ["b@broken.test"])
        for await _ in askings { break }
        await house.settled(try await house.accept(to: ["b@y.test"]))
        #expect(broken.messages.isEmpty && whole.messages.count == 1)
        await house.stop()
    }

    @Test func aLongPatienceIsThatOfTheNextAttempt() async throws {
        let peer = try await peer { line, _ in line == "STARTTLS" ? "454 4.7.0 not now" : nil }
        let house = try house([peer], patience: 60)
        let state = await house.deferred(try await house.accept(to: ["b@y.test"]))
        #expect(state?.waiting.first?.reply?.text.contains("4.7.4") == true)
        #expect(peer.connections == 1)
        await house.stop()
    }
}
