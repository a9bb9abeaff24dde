// SRSTests.swift — senders of forwarded mail: there and back, over several relays, with old and foreign tags.

import Mail
import TestSupport
import Testing

@testable import Config

struct SRSTests {
    private static let day: Int64 = 86_400_000
    private static let now = Timestamp(milliseconds: 20_000 * day)

    private static func make(_ domain: String, _ secrets: String..., days: Int = 21) -> SRS {
        SRS(domain: Domain(unchecked: domain), secrets: secrets.map { Secret($0) }, days: days)
    }

    private static func later(_ days: Int64) -> Timestamp { Timestamp(milliseconds: now.milliseconds + days * day) }

    @Test(arguments: [
        "ann@a.example", "Ann.Author+x@a.example", "\"ann b\"@a.example", "j\u{F6}@a.example", "a=b=c@a.example",
        "srs0x@a.example", "SRS@a.example", "srs0@a.example", "o'hara@xn--bcher-kva.example",
    ])
    func thereAndBack(text: String) throws {
        let srs = Self.make("srs.example", "sixteen letters!")
        let sender = try #require(EmailAddress(text))
        let forwarded = srs.forwarded(sender, at: Self.now)
        #expect(forwarded.domain.name == "srs.example")
        #expect(srs.returned(forwarded, at: Self.later(21)) == .address(sender))
        #expect(srs.returned(forwarded, at: Self.later(22)) == .refused)
        #expect(srs.forwarded(forwarded, at: Self.now) == forwarded, "ours stays")
        #expect(srs.returned(sender, at: Self.now) == .other)
    }

    @Test func lettersCountAlikeInBothCases() throws {
        let srs = Self.make("srs.example", "sixteen letters!")
        let forwarded = srs.forwarded(try #require(EmailAddress("Ann@a.example")), at: Self.now)
        let lower = EmailAddress(local: forwarded.local.lowercased(), domain: forwarded.domain)
        #expect(srs.returned(lower, at: Self.now) == .address(try #require(EmailAddress("ann@a.example"))))
    }

    @Test func severalRelaysLeadBackToTheFirst() throws {
        let (one, two, three) = (
            Self.make("one.example", "secret of the 1st"), Self.make("two.example", "secret of the 2nd"),
            Self.make("three.example", "secret of the 3rd")
        )
        let sender = try #require(EmailAddress("ann@a.example"))
        let first = one.forwarded(sender, at: Self.now)
        let second = two.forwarded(first, at: Self.now)
        let third = three.forwarded(second, at: Self.now)
        #expect(
            second.local.hasPrefix("SRS1=") && third.local.hasPrefix("SRS1=") && third.domain.name == "three.example"
        )
        #expect(three.returned(third, at: Self.now) == .address(first), "those between are left out")
        #expect(two.returned(second, at: Self.now) == .address(first))
        #expect(one.returned(first, at: Self.now) == .address(sender))
    }

    @Test func onlyOurOwnTagsAreBelieved() throws {
        let srs = Self.make("srs.example", "sixteen letters!")
        let other = Self.make("srs.example", "another secret!!")
        let sender = try #require(EmailAddress("ann@a.example"))
        let forwarded = srs.forwarded(sender, at: Self.now)
        #expect(other.returned(forwarded, at: Self.now) == .refused)
        #expect(
            Self.make("srs.example", "another secret!!", "sixteen letters!").returned(forwarded, at: Self.now)
                == .address(sender)
        )
        for text in [
            "SRS0=aaaaaaaa=aa=a.example=ann", "SRS0=", "SRS0==", "SRS1=aaaaaaaa=b.example==x", "SRS0=x", "srs0+a=b=c=d",
        ] {
            let address = EmailAddress(local: text, domain: Domain(unchecked: "srs.example"))
            #expect(srs.returned(address, at: Self.now) == .refused, "\(text)")
        }
        var random = SeededRandom(seed: 3)
        for _ in 0..<2000 {
            var bytes = Array(forwarded.local.utf8)
            let place = Int.random(in: 5..<bytes.count, using: &random)
            bytes[place] = UInt8.random(in: 0x30...0x39, using: &random)
            let address = EmailAddress(local: String(decoding: bytes, as: UTF8.self), domain: forwarded.domain)
            if address != forwarded { #expect(srs.returned(address, at: Self.now) == .refused) }
        }
    }

    @Test func whatWouldBeTooLongStays() throws {
        let srs = Self.make("srs.example", "sixteen letters!")
        let sender = try #require(EmailAddress(String(repeating: "x", count: 250) + "@a.example"))
        #expect(srs.forwarded(sender, at: Self.now) == sender)
    }

    @Test func aListenerThatForwardsAndTheWayBack() throws {
        let text = "[srs]\ndomain = srs.example\nsecret = sixteen letters!\n[senders]\n@b.internal = @b.example\n"
        let rewriting = try Rewriting.read(INIDocument(parsing: text))
        var warnings: [ConfigError] = []
        let listeners = try ListenerSettings.read(
            INIDocument(parsing: "[listener in]\nlisten = 127.0.0.1:26\nsrs = true\n"),
            warnings: &warnings
        )
        let forwarding = try #require(rewriting.rewriter(for: WayIn(.smtp(ListenAddress("127.0.0.1:26"))), listeners))
        let usual = try #require(rewriting.rewriter(for: WayIn(.smtp(ListenAddress("127.0.0.1:2525"))), listeners))
        let sender = ReversePath.address(try #require(EmailAddress("a@b.internal")))
        guard case .address(let made) = forwarding.rewritten(sender) else { return }
        #expect(made.domain.name == "srs.example" && made.local.hasSuffix("=b.example=a"))
        #expect("\(usual.rewritten(sender))" == "a@b.example")
        #expect(forwarding.rewritten(.null) == .null)
        #expect(usual.rewritten([Recipient(made)])?.map(\.address.description) == ["a@b.example"])
    }

    @Test(arguments: [
        ("[srs]\ndomain = srs.example\n", "rewrite.ini:1: [srs] needs domain and secret"),
        ("[srs]\ndomain = srs.example\nsecret = short\n", "rewrite.ini:3: secret: has less than 16 octets"),
        ("[srs]\ndomain = [1.2.3.4]\n", "rewrite.ini:2: domain: \"[1.2.3.4]\" is not a domain"),
        ("[srs]\ndays = 0\n", "rewrite.ini:2: \"0\" is not a number from 1 to 365"),
        ("[srs]\nsecrets = x\n", "rewrite.ini:2: unknown key secrets; did you mean secret?"),
    ])
    func saysWhatIsWrong(text: String, reason: String) {
        let error = #expect(throws: ConfigErrors.self) { try Rewriting.read(INIDocument(parsing: text)) }
        #expect(
            error?.errors.count == 1 && error?.errors.first?.description.hasPrefix(reason) == true,
            "\(String(describing: error))"
        )
        #expect(error?.errors.contains { $0.description.contains("short") } != true)
    }
}
