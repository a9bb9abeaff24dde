// ExpiryWatchTests.swift — who is told that a token or an app password ends, and how often.

import Config
import History
import Mail
import Testing

@testable import martlet

@Suite struct ExpiryWatchTests {
    @Test func isToldOnceADayAndOfTheNextFortnight() throws {
        let now = Timestamp(milliseconds: 1_800_000_000_000)
        let day: Int64 = 86_400_000
        func end(_ days: Int64) -> String { now.adding(milliseconds: days * day).rfc3339 }
        var settings = Settings(me: Domain(unchecked: "relay.example"))
        for (name, days) in [("soon", Int64(13)), ("late", 15), ("over", -1)] {
            let token = AdminSettings.Token(
                name: name,
                digest: [1],
                scopes: [],
                expires: now.adding(milliseconds: days * day)
            )
            settings.admin.tokens.append(token)
        }
        let hash = String(repeating: "ab", count: 32)
        let text = "[app phone ann@x.example]\nhash = sha256:\(hash)\nexpires = \(end(1))\n"
        var warnings: [ConfigError] = []
        settings.auth = try AuthSettings.read(INIDocument(parsing: text), warnings: &warnings)
        #expect(warnings.isEmpty)
        let watch = ExpiryWatch()
        let told = watch.look(settings, at: now)
        #expect(Set(told.compactMap(\.subject)) == ["token soon", "app password phone of ann@x.example"])
        #expect(told.allSatisfy { $0.type == .tokenExpiring && $0.until != nil })
        #expect(watch.look(settings, at: now.adding(milliseconds: day - 1)).isEmpty)
        let again = watch.look(settings, at: now.adding(milliseconds: day + 3_600_000)).compactMap(\.subject)
        #expect(Set(again) == ["token soon", "token late"])
    }
}
