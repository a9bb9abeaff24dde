// LocalMailTests.swift — names of this machine: who gets their mail, and what they send as.

import Mail
import Testing

struct LocalMailTests {
    private static let me = Domain(unchecked: "relay.example")

    private static func address(_ text: String) throws -> EmailAddress { try #require(EmailAddress(text)) }

    private static func local(_ table: [(String, [Aliases.Target])], sender: String? = nil) throws -> LocalMail {
        var aliases = Aliases()
        for (name, targets) in table { _ = aliases.add(name, targets) }
        return LocalMail(me: me, sender: try sender.map { try address($0) }, aliases: aliases)
    }

    @Test func redirectsWhoeverHasAnAlias() throws {
        let ann = try Self.address("ann@x.example")
        let local = try Self.local([
            ("root", [.address(ann), .name("bob")]), ("Postmaster", [.name("ROOT")]), ("bob", [.name("bob")]),
        ])
        func redirected(_ list: String...) throws -> [String]? {
            local.redirected(try list.map { Recipient(try Self.address($0)) })?.map(\.address.description)
        }
        #expect(try redirected("root@relay.example") == ["ann@x.example", "bob@relay.example"])
        #expect(try redirected("Root@localhost", "ann@x.example") == ["ann@x.example", "bob@relay.example"])
        #expect(try redirected("postmaster@relay.example") == ["ann@x.example", "bob@relay.example"])
        #expect(try redirected("root@other.example", "joe@relay.example") == nil)
        #expect(try redirected("bob@relay.example") == ["bob@relay.example"])
    }

    @Test func endsWhereNamesRunInCircles() throws {
        let local = try Self.local([("a", [.name("b")]), ("b", [.name("c")]), ("c", [.name("a"), .name("b")])])
        #expect(try local.target(Self.address("a@localhost")) == nil)
        // Each name stands for ten: no name is followed twice.
        let deep = try Self.local(
            (0..<30).map { level in ("n\(level)", (0..<10).map { .name("n\(level + 1 + $0)") }) }
        )
        #expect(try #require(deep.target(Self.address("n0@localhost"))).count == 10)
    }

    @Test func sendsAsOneSender() throws {
        let local = try Self.local([], sender: "no@x.example")
        let here = ReversePath.address(try Self.address("root@relay.example"))
        let other = ReversePath.address(try Self.address("ann@y.example"))
        #expect(local.sender(of: here).description == "no@x.example")
        #expect(local.sender(of: other) == other)
        #expect(local.sender(of: .null) == .null)
        #expect(try Self.local([]).sender(of: here) == here)
    }

    @Test func namesEveryKindOfMending() {
        #expect(Mending.kinds.reduce(into: Mending()) { $0.formUnion($1.kind) }.rawValue == 511)
        #expect(Mending([.brackets, .lineEnds]).names == "brackets,line_ends")
    }
}
