// RouteChangesTests.swift — which lanes a change of the route table may concern: never one too few.

import Mail
import TestSupport
import Testing

@testable import Config

@Suite struct RouteChangesTests {
    private static let patterns = [
        "*", "example.com", "*.example.com", "a.example.com", "*.a.example.com", "u@example.com", "u@a.example.com",
        "sender x@s.test", "sender s.test", "sender x@s.test to example.com", "sender s.test to *.example.com",
        "sender *.test to u@a.example.com", "sender <> to a.example.com",
    ]
    private static let recipients = [
        "u@example.com", "v@example.com", "u@a.example.com", "v@b.a.example.com", "u@other.test",
    ]

    private static func hop(_ routes: Routes, _ recipient: EmailAddress, _ sender: ReversePath) -> Lane.Hop {
        routes.route(for: recipient, from: sender).flatMap { $0.isDirect ? nil : .route($0.match) }
            ?? .domain(recipient.domain)
    }

    /// Two random tables: whoever takes another way must be among those that are looked at.
    @Test func nobodyIsForgotten() throws {
        var random = SeededRandom(seed: 7)
        for _ in 0..<Effort.count(2000) {
            let tables = (0..<2).map { _ in
                var table = Routes()
                for pattern in Self.patterns where Bool.random(using: &random) {
                    let host = MX("h\(Int.random(in: 0...1, using: &random)).example")
                    let isDirect = Int.random(in: 0...4, using: &random) == 0
                    table.add(Routes.Entry(match: pattern, way: isDirect ? .direct : .hosts([host])))
                }
                return table
            }
            let changes = RouteChanges(from: tables[0], to: tables[1])
            for text in Self.recipients {
                let recipient = try #require(EmailAddress(text))
                for sender in [ReversePath.null, .address(try #require(EmailAddress("x@s.test")))] {
                    let (before, after) = (
                        Self.hop(tables[0], recipient, sender), Self.hop(tables[1], recipient, sender)
                    )
                    if before != after { #expect(changes.mayMove(before), "\(before) → \(after)") }
                    guard before == after, case .route(let name) = before else { continue }
                    let differs = tables[0].route(named: name) != tables[1].route(named: name)
                    #expect(changes.leadsElsewhere(before) == differs)
                }
            }
        }
    }

    @Test func anotherDomainIsLeftInPeace() throws {
        var new = Routes()
        new.add(Routes.Entry(match: "example.com", way: .hosts([MX("h.example")])))
        let changes = RouteChanges(from: Routes(), to: new)
        #expect(changes.mayMove(.domain(Domain(unchecked: "example.com"))))
        #expect(!changes.mayMove(.domain(Domain(unchecked: "example.org"))))
    }
}
