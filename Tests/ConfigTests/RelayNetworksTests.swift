// RelayNetworksTests.swift — edits of relay_acl_allow: one line changes, every other byte stays.

import Mail
import Testing

@testable import Config

@Suite struct RelayNetworksTests {
    private static let text = "# ours\r\n10.0.0.0/8   # office\r\n\r\n[::ffff:192.0.2.0]/120 ; shop\n2001:db8::/32"
    private static let loopback = ["127.0.0.0/8", "::1"].compactMap { IPNetwork($0) }

    private func put(_ network: String, _ comment: String?, into text: String) throws -> String {
        let network = try #require(IPNetwork(network))
        return try RelayNetworks.putting(.init(network, comment: comment), into: text, seed: Self.loopback)
    }

    @Test func readsNetworksWithTheirComments() {
        let found = RelayNetworks.entries(in: Self.text)
        #expect(found.map { "\($0.network)" } == ["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"])
        #expect(found.map(\.comment) == ["office", "shop", nil])
    }

    @Test func addsBehindTheLastAndChangesInPlace() throws {
        #expect(try put("192.0.3.0/24", nil, into: Self.text) == Self.text + "\n192.0.3.0/24\n")
        let changed = try put("10.0.0.0/8", "both offices", into: Self.text)
        #expect(changed.contains("# ours\r\n10.0.0.0/8 ; both offices\r\n\r\n[::ffff:"))
        #expect(try put("10.0.0.0/8", "office", into: Self.text) == Self.text)
        #expect(try put("192.0.2.0/24", "shop", into: Self.text) == Self.text)
        #expect(try put("192.0.2.1", "one", into: "") == "127.0.0.0/8\n::1/128\n192.0.2.1/32 ; one\n")
    }

    @Test(arguments: ["", " a", "a ", "a\nb", "a\u{7F}", String(repeating: "x", count: 201)])
    func refusesCommentsThatWouldNotReadBack(comment: String) {
        #expect(throws: ConfigError.self) { try put("192.0.2.1", comment, into: Self.text) }
    }

    @Test func removesEveryLineOfANetwork() throws {
        let network = try #require(IPNetwork("10.0.0.0/8"))
        #expect(RelayNetworks.removing(network, from: "10.1.2.3/8\n; x\n10.0.0.0/8\n") == "; x\n")
        #expect(RelayNetworks.removing(network, from: "192.0.2.1\n") == nil)
    }
}
