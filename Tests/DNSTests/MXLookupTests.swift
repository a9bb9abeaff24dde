// MXLookupTests.swift — which hosts take the mail of a domain (RFC 5321 §5.1, RFC 7505).

import Mail
import TestSupport
import Testing

@testable import DNS

@Suite struct MXLookupTests {
    private let resolver = StaticResolver()

    private func lookup(_ domain: String, seed: UInt64 = 1) async throws -> MXLookup.Hosts {
        var generator = SeededRandom(seed: seed)
        return try await MXLookup(resolver).hosts(of: try #require(Domain(domain)), using: &generator).value
    }

    private func names(_ domain: String, seed: UInt64 = 1) async throws -> [String] {
        guard case .hosts(let hosts) = try await lookup(domain, seed: seed) else { return ["refuses"] }
        return hosts.map { "\($0.priority) \($0)" }
    }

    @Test func ordersByPreference() async throws {
        resolver.setMX("example.com", ["20 c.example", "5 a.example", "10 b.example"])
        #expect(try await names("example.com") == ["5 a.example:25", "10 b.example:25", "20 c.example:25"])
    }

    @Test func shufflesEqualPreferences() async throws {
        resolver.setMX(
            "example.com",
            ["10 a.example", "10 b.example", "10 c.example", "5 first.example", "20 last.example"]
        )
        var orders: Set<[String]> = []
        for seed in 0..<100 {
            let order = try await names("example.com", seed: UInt64(seed))
            #expect(order.first == "5 first.example:25")
            #expect(order.last == "20 last.example:25")
            orders.insert(order)
        }
        #expect(orders.count == 6)
    }

    @Test func aDomainWithoutMXIsItsOwnHost() async throws {
        resolver.setAddresses("example.com", ["192.0.2.1"])
        #expect(try await names("example.com") == ["0 example.com:25"])
    }

    @Test func aDomainWithNeitherMXNorAddressIsNone() async throws {
        resolver.setMX("example.com", [])
        await #expect(throws: DNSError.noSuchName) { try await lookup("example.com") }
    }

    @Test func aDomainThatDoesNotExistIsNone() async throws {
        await #expect(throws: DNSError.noSuchName) { try await lookup("example.com") }
        #expect(resolver.questions == ["MX example.com"])
    }

    @Test func aNullMXRefusesMail() async throws {
        resolver.setMX("example.com", ["0 ."])
        #expect(try await lookup("example.com") == .refusesMail)
    }

    @Test func aRootAmongOthersIsLeftOut() async throws {
        resolver.setMX("example.com", ["0 .", "10 a.example"])
        #expect(try await names("example.com") == ["10 a.example:25"])
    }

    @Test(arguments: [DNSError.timedOut, .serverFailure("SERVFAIL"), .bogus("forged")])
    func troubleStaysTrouble(error: DNSError) async throws {
        resolver.fail("example.com", error)
        await #expect(throws: error) { try await lookup("example.com") }
    }

    /// No MX, and the question for the address fails: that is no proof of anything.
    @Test func troubleWithTheImplicitHostStaysTrouble() async throws {
        let resolver = HalfResolver()
        var generator = SeededRandom(seed: 1)
        await #expect(throws: DNSError.timedOut) {
            try await MXLookup(resolver).hosts(of: Domain(unchecked: "example.com"), using: &generator)
        }
    }

    @Test func usesAHundredOfTwoHundred() async throws {
        resolver.setMX("example.com", (0..<200).map { "\(200 - $0) mx\($0).example" })
        let hosts = try await names("example.com")
        #expect(hosts.count == MXLookup.most)
        #expect(hosts.first == "1 mx199.example:25")
    }

    @Test func takesAHostOnceWithItsBestPreference() async throws {
        resolver.setMX("example.com", ["20 a.example", "10 a.example", "15 b.example"])
        #expect(try await names("example.com") == ["10 a.example:25", "15 b.example:25"])
    }

    @Test func anAddressPosingAsANameIsLeftOut() async throws {
        resolver.setMX("example.com", ["5 127.0.0.1", "10 a.example"])
        #expect(try await names("example.com") == ["10 a.example:25"])
        resolver.setMX("example.net", ["5 127.0.0.1"])
        await #expect(throws: DNSError.serverFailure("no MX of example.net names a host")) {
            try await lookup("example.net")
        }
    }

    @Test func anAddressLiteralIsItsOwnHost() async throws {
        #expect(try await names("[192.0.2.1]") == ["0 192.0.2.1:25"])
        #expect(try await names("[IPv6:2001:db8::1]") == ["0 [2001:db8::1]:25"])
        #expect(resolver.questions == [])
    }

    @Test func timeToLiveIsBounded() {
        #expect(Answer(1, timeToLive: .zero).timeToLive == .seconds(5))
        #expect(Answer(1, timeToLive: .seconds(1 << 31)).timeToLive == .seconds(86_400))
        #expect(Answer(1, timeToLive: .seconds(77)).timeToLive == .seconds(77))
    }

    // MARK: - Addresses

    private static let mixed = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2", "192.0.2.1"]

    @Test(arguments: [
        (AddressPreference.any, true, "192.0.2.1 2001:db8::1 192.0.2.2 2001:db8::2 192.0.2.3"),
        (.anyButIPv6First, true, "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 192.0.2.3"),
        (.anyButIPv6First, false, "192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::1 2001:db8::2"),
        (.any, false, "192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::1 2001:db8::2"),
        (.v4, true, "192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::1 2001:db8::2"),
        (.v6, false, "2001:db8::1 2001:db8::2 192.0.2.1 192.0.2.2 192.0.2.3"),
    ])
    func ordersAddresses(preference: AddressPreference, hasRoute: Bool, order: String) {
        let addresses = Self.mixed.compactMap { IPAddress($0) }
        let arranged = AddressOrder.arrange(addresses, preference: preference, hasIPv6Route: hasRoute)
        #expect(arranged.map(\.description).joined(separator: " ") == order)
    }

    @Test func triesSixteenAddresses() {
        let many = (0..<200).compactMap { IPAddress("192.0.2.\($0)") }
        #expect(AddressOrder.arrange(many, preference: .any, hasIPv6Route: true).count == AddressOrder.most)
    }

    @Test func aHostWithoutAddressIsNone() async throws {
        resolver.setMX("mx.example", [])
        await #expect(throws: DNSError.noSuchName) {
            try await resolver.addresses(of: Domain(unchecked: "mx.example"), preference: .any)
        }
    }

    @Test(arguments: ["[192.0.2.7]", "192.0.2.7"])
    func anAddressIsNotAsked(host: String) async throws {
        let answer = try await resolver.addresses(of: Domain(unchecked: host), preference: .v6)
        #expect(answer.value.map(\.description) == ["192.0.2.7"])
        #expect(resolver.questions == [])
    }
}

/// Knows that there is no MX and cannot say anything about addresses.
private struct HalfResolver: Resolver {
    func tlsa(of host: Domain, port: UInt16) async throws(DNSError) -> Answer<[TLSARecord]> { throw .timedOut }
    func text(of name: Domain) async throws(DNSError) -> Answer<[String]> { throw .timedOut }
    func alias(of name: Domain) async throws(DNSError) -> Answer<Domain?> { throw .timedOut }
    func isSigned(_ zone: String) async throws(DNSError) -> Bool { throw .timedOut }

    func mailExchangers(of domain: Domain) async throws(DNSError) -> Answer<[MXRecord]> {
        Answer([], timeToLive: .seconds(60))
    }

    func addresses(of host: Domain) async throws(DNSError) -> Answer<[IPAddress]> { throw .timedOut }
}
