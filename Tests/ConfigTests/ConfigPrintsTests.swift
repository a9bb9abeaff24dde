// ConfigPrintsTests.swift — a change of the configuration is told by file and key.

import Testing

@testable import Config

struct ConfigPrintsTests {
    private static func changes(_ old: [String: String], _ new: [String: String]) -> [ConfigPrints.Change] {
        ConfigPrints(old.map { ($0.key, $0.value) }).changes(to: ConfigPrints(new.map { ($0.key, $0.value) }))
    }

    @Test func namesTheKeysThatChanged() {
        let found = Self.changes(
            ["outbound.ini": "a = 1\nb = 2\n[tls]\nc = 3\n", "me": "x"],
            ["outbound.ini": "a = 1\nb = 3\n[tls]\nd = 3\n", "me": "x"]
        )
        #expect(found == [ConfigPrints.Change(file: "outbound.ini", keys: ["[tls] c", "[tls] d", "b"])])
    }

    @Test func commentsAndBlanksAreNoChange() {
        #expect(Self.changes(["smtp.ini": "a = 1"], ["smtp.ini": "; new\n\na=1\n"]).isEmpty)
    }

    @Test func aListIsToldAsAWhole() {
        let found = Self.changes(["relay_acl_allow": "::1"], ["relay_acl_allow": "::1\n10.0.0.1"])
        #expect(found == [ConfigPrints.Change(file: "relay_acl_allow", keys: [])])
        #expect(Self.changes([:], ["me": "x"]).map(\.file) == ["me"])
    }

    @Test func aKeyThatComesTwiceCountsTwice() {
        let found = Self.changes(["routes.ini": "[x]\nmx = a\nmx = b\n"], ["routes.ini": "[x]\nmx = b\nmx = a\n"])
        #expect(found.map(\.keys) == [["[x] mx"]])
    }
}
