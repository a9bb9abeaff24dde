// ReturnPathsTests.swift — senders of our own for mail that leaves: what they say when mail comes back to them, and to whom.

import Mail
import TestSupport
import Testing

@testable import Config

struct ReturnPathsTests {
    private static let day: Int64 = 86_400_000
    private static let now = Timestamp(milliseconds: 20_000 * day)
    private static let id = QueueID(at: now)

    private static func make(_ secrets: String..., days: Int = 21) throws -> ReturnPaths {
        ReturnPaths(
            try #require(EmailAddress("bounces@b.example")),
            senders: [Domain(unchecked: "a.example")],
            secrets: secrets.map { Secret($0) },
            days: days
        )
    }

    private static func later(_ days: Int64) -> Timestamp { now.adding(milliseconds: days * day) }

    @Test(arguments: [
        ("ann@c.example", true), ("Ann.Author+news@c.example", true), ("o'hara@c.example", false),
        ("\"ann b\"@c.example", false), ("j\u{F6}@c.example", false), ("a=b@c.example", false),
        ("ann@[192.0.2.1]", false), ("a-local-part-of-thirty-letters@a-long-domain.example", false),
    ])
    func tellsOfMessageAndRecipient(text: String, isNamed: Bool) throws {
        let paths = try Self.make("sixteen letters!")
        let recipient = try #require(EmailAddress(text))
        let sender = paths.sender(of: Self.id, to: recipient, at: Self.now)
        #expect(sender.local.utf8.count <= 64 && sender.isASCII)
        #expect(EmailAddress("\(sender)") == sender)
        for spelling in [sender.local, sender.local.lowercased(), sender.local.uppercased()] {
            let back = EmailAddress(local: spelling, domain: sender.domain)
            guard case .sent(let sent) = paths.returned(back, at: Self.later(21)) else {
                Issue.record("\(back) is not ours")
                continue
            }
            #expect(sent.id == Self.id && paths.confirms(sent, recipient))
            #expect((sent.recipient != nil) == isNamed)
            #expect(sent.recipient.map { "\($0)" == "\(recipient)".lowercased() } ?? true)
        }
        #expect(paths.returned(sender, at: Self.later(22)) == .refused || !isNamed)
        let other = try #require(EmailAddress("other@c.example"))
        if case .sent(let sent) = paths.returned(sender, at: Self.now) { #expect(!paths.confirms(sent, other)) }
    }

    @Test func nothingElseIsBelieved() throws {
        let paths = try Self.make("sixteen letters!")
        let recipient = try #require(EmailAddress("ann@c.example"))
        let sender = paths.sender(of: Self.id, to: recipient, at: Self.now)
        #expect(try Self.make("another secret!!").returned(sender, at: Self.now) == .refused)
        #expect(try Self.make("another secret!!", "sixteen letters!").returned(sender, at: Self.now) != .refused)
        var forged = 0
        for index in sender.local.utf8.indices where sender.local.utf8[index] != UInt8(ascii: "=") {
            var letters = Array(sender.local.utf8)
            let place = sender.local.utf8.distance(from: sender.local.utf8.startIndex, to: index)
            letters[place] = letters[place] == UInt8(ascii: "a") ? UInt8(ascii: "b") : UInt8(ascii: "a")
            let other = EmailAddress(local: String(decoding: letters, as: UTF8.self), domain: sender.domain)
            if case .sent = paths.returned(other, at: Self.now) { forged += 1 }
        }
        #expect(forged == 0)
        for (text, kind) in [
            ("bounces@b.example", ReturnPaths.Return.complaint), ("Bounces@B.example", .complaint),
            ("bounce@b.example", .other), ("ann@b.example", .other), ("bounces@c.example", .other),
            ("bounces+@b.example", .refused), ("bounces+x@b.example", .refused), ("bounces+x=y=z@b.example", .refused),
            ("bouncesx+y@b.example", .other),
        ] { #expect(paths.returned(try #require(EmailAddress(text)), at: Self.now) == kind, "\(text)") }
    }

    @Test func onlyNamedDomainsAreCovered() throws {
        let paths = try Self.make("sixteen letters!")
        func covers(_ text: String) throws -> Bool { paths.covers(.address(try #require(EmailAddress(text)))) }
        #expect(try covers("app@a.example") && covers("app@A.EXAMPLE"))
        #expect(try !covers("app@sub.a.example") && !covers("app@b.example") && !covers("bounces@b.example"))
        #expect(!paths.covers(.null))
    }

    @Test(arguments: [
        ("[bounces]\naddress = b@b.example\n", "rewrite.ini:1: [bounces] needs address and secret"),
        ("[bounces]\nsecret = sixteen letters!\n", "rewrite.ini:1: [bounces] needs address and secret"),
        ("[bounces]\nsecret = short\n", "rewrite.ini:2: secret: has less than 16 octets"),
        ("[bounces]\naddress = b+x@b.example\n", "rewrite.ini:2: address: \"b+x@b.example\" is not an address"),
        ("[bounces]\naddress = b.example\n", "rewrite.ini:2: address: \"b.example\" is not an address"),
        (
            "[bounces]\naddress = a-local-part-of-far-too-many-letters@b.example\n",
            "rewrite.ini:2: address: has more than 32 octets"
        ),
        ("[bounces]\nsenders = a.example, no..one\n", "rewrite.ini:2: senders: \"no..one\" is not a domain"),
        ("[bounces]\nsender = x\n", "rewrite.ini:2: unknown key sender; did you mean senders?"),
        ("[bounces]\ndays = 0\n", "rewrite.ini:2: "),
    ])
    func saysWhatIsWrong(text: String, reason: String) {
        let error = #expect(throws: ConfigErrors.self) { try Rewriting.read(INIDocument(parsing: text)) }
        #expect(
            error?.errors.first?.description.hasPrefix(reason) == true,
            "\(String(describing: error))"
        )
        #expect(error?.errors.contains { $0.description.contains("short") } != true)
    }
}
