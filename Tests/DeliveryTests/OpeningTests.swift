// OpeningTests.swift — hosts that swallow packets and hosts that say nothing: how long a session may take to stand.

import Config
import Glibc
import Mail
import NIOCore
import Storage
import TestSupport
import Testing

@testable import Delivery

/// Takes no connection and refuses none: what comes is swallowed, since nobody accepts and the queue is full.
private final class SilentHost {
    let port: UInt16
    private var sockets: [Int32] = []

    init(_ address: String) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var place = Self.place(address, 0)
        try #require(Self.with(&place) { bind(listener, $0, $1) } == 0)
        try #require(listen(listener, 0) == 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(listener, $0, &length) }
        }
        port = UInt16(bigEndian: place.sin_port)
        sockets = [listener]
        for _ in 0..<3 {
            let filler = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            _ = Self.with(&place) { connect(filler, $0, $1) }
            sockets.append(filler)
        }
    }

    deinit { for socket in sockets { close(socket) } }

    private static func place(_ address: String, _ port: UInt16) -> sockaddr_in {
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = port.bigEndian
        inet_pton(AF_INET, address, &place.sin_addr)
        return place
    }

    private static func with(_ place: inout sockaddr_in, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32
    {
        withUnsafePointer(to: &place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}

struct OpeningTests {
    private func house(_ hosts: [MX], _ change: (inout OutboundChange) -> Void = { _ in }) throws -> House {
        var wanted = OutboundChange()
        change(&wanted)
        let final = wanted
        return try House(routes: ["*": hosts]) { settings in
            settings.outbound.openingTimeout = final.opening
            settings.outbound.connectTimeout = final.connect
        }
    }

    private struct OutboundChange {
        var opening = 300
        var connect = 30
    }

    @Test(.timeLimit(.minutes(1)))
    func anAddressThatSwallowsPacketsCostsAMoment() async throws {
        let silent = try SilentHost("127.0.0.2")
        let peer = try await LoopbackPeer("127.0.0.3", port: silent.port)
        let house = try house([MX("two.test", port: silent.port)]) {
            $0.connect = 600; $0.opening = 600
        }
        house.resolver.setAddresses("two.test", ["127.0.0.2", "127.0.0.3"])
        await house.settled(try await house.accept(to: ["b@y.test"]))
        #expect(peer.messages.count == 1 && peer.connections == 1)
        await house.stop()
    }

    @Test func onlyTheFirstThatAnswersIsSpokenTo() async throws {
        let first = try await LoopbackPeer("127.0.0.2")
        let second = try await LoopbackPeer("127.0.0.3", port: first.port)
        let house = try house([MX("two.test", port: first.port)])
        house.resolver.setAddresses("two.test", ["127.0.0.2", "127.0.0.3"])
        await house.settled(try await house.accept(to: ["b@y.test"]))
        #expect(first.messages.count + second.messages.count == 1)
        #expect((first.lines + second.lines).count { $0.hasPrefix("EHLO") } == 1)
        await house.stop()
    }

    @Test func anAddressThatTurnsUsAwayLeadsToTheNext() async throws {
        let first = try await LoopbackPeer("127.0.0.2") { line, _ in line.isEmpty ? "421 4.3.2 not now!" : nil }
        let second = try await LoopbackPeer("127.0.0.3", port: first.port)
        let house = try house([MX("two.test", port: first.port)])
        house.resolver.setAddresses("two.test", ["127.0.0.2", "127.0.0.3"])
        await house.settled(try await house.accept(to: ["b@y.test"]))
        #expect(second.messages.count == 1)
        await house.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func aHostThatSaysNothingLeavesTimeToTheNext() async throws {
        let mute = try await LoopbackPeer { line, _ in line.isEmpty ? "" : nil }
        let peer = try await LoopbackPeer()
        let house = try house([mute.mx, peer.mx]) { $0.opening = 4 }
        await house.settled(try await house.accept(to: ["b@y.test"]))
        #expect(peer.messages.count == 1)
        await house.stop()
    }

    @Test(.timeLimit(.minutes(1)))
    func openingHasAnEnd() async throws {
        let silent = try SilentHost("127.0.0.2")
        let mute = try await LoopbackPeer { line, _ in line.isEmpty ? "" : nil }
        let house = try house([MX("127.0.0.2", port: silent.port), mute.mx]) { $0.opening = 2 }
        let state = await house.deferred(try await house.accept(to: ["b@y.test"]))
        #expect(state?.waiting.first?.reply?.text.contains("greeting") == true)
        await house.stop()
    }
}
