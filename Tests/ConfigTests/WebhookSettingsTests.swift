// WebhookSettingsTests.swift — the sections `[webhook NAME]` of `events.ini`.

import Mail
import TestSupport
import Testing

@testable import Config

@Suite struct WebhookSettingsTests {
    private static let key = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

    private static func read(_ text: String, _ files: [String: String] = [:]) throws -> Settings {
        let source = MemoryConfig(files.merging([EventSettings.file: text]) { $1 })
        return try SettingsReader(source, hostName: "relay.test").read().settings
    }

    private static func complaint(_ text: String) -> String {
        do {
            _ = try read(text)
            return ""
        } catch { return "\(error)" }
    }

    @Test func everyKeyIsRead() throws {
        let settings = try Self.read(
            """
            [webhook shop]
            url = https://shop.test/hook?token=x
            secret = \(Self.key)
            secret_previous = \(Self.key)
            enabled = no
            types = delivery.*, message.held
            routes = Example.NET, *
            tags = Spring
            sender_domains = SHOP.test
            format = sendgrid
            batch = 50
            concurrency = 4
            allow_private = true
            timeout = 1m
            retry_first = 1
            retry_max = 2h
            [webhook other]
            url = http://127.0.0.1:80/
            secret = @file:secrets/other
            allow_private = true
            ordered = true
            """,
            ["secrets/other": Self.key + "\n"]
        )
        let endpoints = settings.events.webhooks.endpoints
        #expect(endpoints.map(\.name) == ["shop", "other"])
        let shop = endpoints[0]
        #expect(shop.keys.count == 2 && shop.keys[0].octets == Array(0..<32))
        #expect((shop.routes, shop.tags, shop.senderDomains) == (["example.net", "*"], ["Spring"], ["shop.test"]))
        #expect((shop.types, shop.format, shop.size) == (["delivery.*", "message.held"], .sendgrid, 50))
        #expect((shop.timeout, shop.retryFirst, shop.retryMax, shop.concurrency) == (60, 1, 7200, 4))
        #expect(!shop.isEnabled && shop.allowsPrivate && !shop.isOrdered)
        #expect(endpoints[1].isOrdered && endpoints[1].keys[0].octets == Array(0..<32))
    }

    @Test(arguments: [
        ("[webhook x]\nsecret = KEY", "has no url"), ("[webhook x]\nurl = https://x.test/", "has no secret"),
        ("[webhook x]\nurl = http://x.test/\nsecret = KEY", "without TLS"),
        ("[webhook x]\nurl = https://u:p4ss@x.test/\nsecret = KEY", "may not hold a login"),
        ("[webhook x]\nurl = ftp://x.test/\nsecret = KEY", "is not https://"),
        ("[webhook x]\nurl = https://x.test/\nsecret = p4ss", "is not whsec_"),
        ("[webhook x]\nurl = https://x.test/\nsecret = KEY\nbatch = 101", "1 to 100"),
        ("[webhook x]\nurl = https://x.test/\nsecret = KEY\nordered = true\nconcurrency = 2", "ordered"),
        ("[webhook x]\nurl = https://x.test/\nsecret = KEY\ntypes = Delivery", "is not a type"),
        ("[webhook x]\nurl = https://x.test/\nsecret = KEY\nretry_first = 1h\nretry_max = 1m", "beyond"),
        ("[webhook x]\nurl = https://x.test/\nsecret = KEY\nurls = y", "unknown key"),
        ("[webhook x]\nurl = https://x.test/\nsecret = KEY\nurl = https://y.test/", "twice"),
        ("[webhook x]\nurl = https://x.test/\nsecret = KEY\n[webhook x]\nurl = https://x.test/\nsecret = KEY", "began"),
        ("[webhook a b]\nurl = https://x.test/\nsecret = KEY", "the name of a webhook"),
        ("[webhook]\nurl = https://x.test/\nsecret = KEY", "the name of a webhook"),
    ])
    func whatIsWrongIsSaid(_ text: String, _ reason: String) {
        let text = text.replacing("KEY", with: Self.key)
        let complaint = Self.complaint(text)
        #expect(complaint.contains(reason) && complaint.contains("events.ini:"), "\(complaint)")
        #expect(!complaint.contains("p4ss"))
    }

    @Test func nothingSecretIsShown() throws {
        let text = "[webhook x]\nurl = https://x.test/?t0ken\nsecret = \(Self.key)\nformat = ses\nsecre = p4ss\n"
        let lines = Redaction.lines(of: INIDocument(parsing: text), in: EventSettings.file).joined(separator: "\n")
        #expect(lines.contains("format = ses") && !lines.contains("t0ken") && !lines.contains("AAEC"))
        #expect(!lines.contains("p4ss"))
    }
}
