// RouteOrderTests.swift — who decides first: the table of Tests/Tables/route_order.table, and names of sections.

import Mail
import TestSupport
import Testing

@testable import Config

@Suite struct RouteOrderTests {
    private static let names = [
        "hosted.test", "vip@hosted.test", "*.hosted.test", "*.deep.hosted.test", "sender mine.test",
        "sender boss@mine.test", "sender *.mine.test", "sender boss@mine.test to hosted.test",
        "sender *.mine.test to *.hosted.test", "sender <>", "sender <> to replies.test", "*",
    ]

    private static func routes(_ names: [String]) throws -> Routes {
        try Routes.read(INIDocument(parsing: names.map { "[\($0)]\nmx = h.example\n" }.joined()))
    }

    private static func path(_ text: String) throws -> ReversePath {
        text == "<>" ? .null : .address(try #require(EmailAddress(text)))
    }

    @Test(arguments: try TruthTable.load("route_order").rows)
    func followsTheTable(row: TruthTable.Row) throws {
        let routes = try Self.routes(Self.names)
        let recipient = try #require(EmailAddress(try row.cell("recipient")))
        let sender = try Self.path(try row.cell("sender"))
        let decision = routes.decision(for: recipient, from: sender)
        func cell(_ text: String) -> String { text.split(separator: " ").joined(separator: "_") }
        #expect(cell(decision.route?.match ?? "-") == (try row.cell("section")))
        #expect(decision.because?.rawValue ?? "-" == (try row.cell("because")))
        let lost = decision.lost.map { "\(cell($0.match)):\($0.because.rawValue)" }
        #expect((lost.isEmpty ? "-" : lost.joined(separator: ",")) == (try row.cell("lost")))
        #expect(decision.asked.last?.match == decision.route?.match)
        // Whoever acts finds what whoever explains finds.
        #expect(routes.route(for: recipient, from: sender) == decision.route)
    }

    /// Random tables: acting and explaining are one search, however few kinds of sections there are.
    @Test func actsAsItExplains() throws {
        var random = SeededRandom(seed: 12)
        let senders = ["boss@mine.test", "x@mine.test", "x@sub.mine.test", "x@free.test", "<>"]
        let recipients = [
            "b@hosted.test", "vip@hosted.test", "b@a.hosted.test", "b@c.deep.hosted.test", "b@replies.test",
        ]
        for _ in 0..<Effort.count(500) {
            let routes = try Self.routes(Self.names.filter { _ in Int.random(in: 0...2, using: &random) == 0 })
            for sender in try senders.map(Self.path) {
                for recipient in recipients.compactMap({ EmailAddress($0) }) {
                    let decision = routes.decision(for: recipient, from: sender)
                    #expect(routes.route(for: recipient, from: sender) == decision.route)
                }
            }
        }
    }

    @Test(arguments: [
        ("sender  A.test  to  B.test", "sender a.test to b.test"), ("sender a.test to *", "sender a.test"),
        ("sender <> to x@B.test", "sender <> to x@b.test"), ("sender a@b.test", "sender a@b.test"),
        ("sender \"x to y\"@q.test", "sender \"x to y\"@q.test"),
        ("sender \"x to y\"@q.test to b.test", "sender \"x to y\"@q.test to b.test"),
        ("sender b\u{FC}cher.test to *.b\u{FC}cher.test", "sender xn--bcher-kva.test to *.xn--bcher-kva.test"),
    ])
    func hasOneNormalForm(text: String, normal: String) { #expect(Routes.normalized(text) == normal) }

    @Test(arguments: [
        "sender * to a.test", "sender a.test to <>", "sender a.test to", "sender to b.test", "a.test to b.test",
    ])
    func knowsWhatIsNoName(text: String) { #expect(Routes.normalized(text) == nil) }

    @Test(arguments: [
        ("reject = 550 5.1.1 gone", "550 5.1.1 gone"), ("reject = gone for good", "550 5.7.1 gone for good"),
        ("reject = 450 come back", "450 4.7.1 come back"),
        ("reject = 4.2.0 is no status", "550 5.7.1 4.2.0 is no status"),
        ("reject = true", "550 5.7.1 Mail for this recipient is not accepted"),
    ])
    func readsReplies(line: String, reply: String) throws {
        let routes = try? Routes.read(INIDocument(parsing: "[a.test]\n\(line)\n"))
        guard case .reject(let found)? = routes?.route(named: "a.test")?.way else {
            return #expect(line == "reject = 4.2.0 is no status")
        }
        #expect("\(found)" == reply)
        let recipient = try #require(EmailAddress("x@a.test"))
        #expect(routes?.refusal(of: recipient, from: .null) == found)
    }

    @Test func discardsWithWords() throws {
        let routes = try Routes.read(INIDocument(parsing: "[a.test]\ndiscard = load test\n[b.test]\ndiscard = yes\n"))
        #expect(routes.route(named: "a.test")?.way == .discard("load test"))
        #expect(routes.route(named: "b.test")?.way == .discard("the route discards mail"))
        #expect(!routes.rejects)
    }

    @Test(arguments: ["reject = 550 5.1.1 gone", "discard = a test", "direct = true"])
    func writesWhatItRead(line: String) throws {
        let document = INIDocument(parsing: "[sender a.test to b.test]\n\(line)\n")
        let section = try #require(RouteSection.all(in: document)["sender a.test to b.test"]?.section)
        var other = INIDocument(parsing: "; kept\n[sender a.test to b.test]\nmx = h.example ; old\ntls = may\n")
        try section.write(to: &other, section: "sender a.test to b.test")
        #expect(other.text == "; kept\n[sender a.test to b.test]\n\(line)\n")
    }
}
