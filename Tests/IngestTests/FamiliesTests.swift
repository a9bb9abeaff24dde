// FamiliesTests.swift — IPv4 and IPv6 at the same port: which sockets take which.

import Config
import Glibc
import Ingest
import Mail
import TestSupport
import Testing

@Suite(.serialized) struct FamiliesTests {
    private static func address(_ text: String, _ port: UInt16) throws -> ListenAddress {
        ListenAddress(ip: try #require(IPAddress(text)), port: port)
    }

    @Test(arguments: [
        ("::", ["::"], false), ("::", ["0.0.0.0", "::"], true), ("::", ["127.0.0.1", "::"], true),
        ("::1", ["::1"], true), ("0.0.0.0", ["0.0.0.0", "::"], false),
    ])
    func bothUnlessIPv4HasItsOwn(_ one: String, _ all: [String], _ isV6Only: Bool) throws {
        let places = try all.map { try Self.address($0, 25) }
        #expect(try Self.address(one, 25).isV6Only(among: places) == isV6Only)
        #expect(try !Self.address("::", 26).isV6Only(among: places))
    }

    /// What people write: both families, and a change to and fro without a restart.
    @Test func bothFamiliesAtOnePort() async throws {
        let relay = try await TestRelay()
        let free = Listener.Place(try Self.address("0.0.0.0", 0), .plain)
        let port = try await relay.listener.start(free).address.port
        let four = Listener.Place(try Self.address("0.0.0.0", port), .plain)
        let six = Listener.Place(try Self.address("::", port), .plain, isV6Only: true)
        let both = Listener.Place(try Self.address("::", port), .plain)
        #expect(await relay.listener.move(to: [both]).isEmpty)
        #expect(try Socket(port: port).line()?.hasPrefix("220 ") == true)
        #expect(await relay.listener.move(to: [four, six]).isEmpty)
        #expect(relay.listener.places.count == 2)
        #expect(try Socket(port: port).line()?.hasPrefix("220 ") == true)
        await relay.listener.stop(patience: 0)
    }
}
