// LimitProfileTests.swift — shipped profiles: they are read as they are printed, and what a file has otherwise is found.

import Mail
import Testing

@testable import Config

@Suite struct LimitProfileTests {
    private let all = LimitProfile.shipped.map(\.text).joined(separator: "\n")

    @Test func areReadAsTheyArePrinted() throws {
        let document = INIDocument(parsing: all)
        let rules = try LimitSettings.read(document)
        #expect(rules.providers.map(\.name) == LimitProfile.shipped.map(\.name))
        let entries = LimitSettings.entries(in: document)
        for profile in LimitProfile.shipped {
            #expect(profile.differences(from: entries) == [], "\(profile.name)")
            #expect(
                !profile.lines.isEmpty && profile.lines.allSatisfy { $0.source.contains("202") },
                "a source and a date"
            )
        }
    }

    @Test(arguments: [
        ("gmail-smtp-in.l.google.com", "google"), ("aspmx.l.google.com", "google"),
        ("outlook-com.olc.protection.outlook.com", "outlook"),
        ("example-com.mail.protection.outlook.com", "microsoft365"),
        ("mta5.am0.yahoodns.net", "yahoo"), ("mx01.mail.icloud.com", "apple"), ("mx1.comcast.net", "comcast"),
        ("smtp.office365.com", "smtp-office365"), ("email-smtp.eu-west-1.amazonaws.com", "smtp-ses"),
        ("smtp-in.orange.fr", "orange"), ("mx00.emig.gmx.net", "gmx"), ("mxs.mail.ru", "mailru"), ("mx1.qq.com", "qq"),
        ("relay.example.org", nil), ("notgoogle.com", nil),
    ])
    func areKnownByTheirHosts(_ host: String, _ name: String?) throws {
        let rules = try LimitSettings.read(INIDocument(parsing: all))
        #expect(rules.provider(of: [host]) == name)
    }

    @Test func whatAFileHasOtherwiseIsFound() throws {
        let google = try #require(LimitProfile.shipped.first)
        let text = "[provider google]\nmx = *.google.com\nconnections = 3\nrate = 9/m\n"
        let found = google.differences(from: LimitSettings.entries(in: INIDocument(parsing: text)))
        #expect(found.count == 3 && found.contains(.hosts(theirs: ["*.google.com"])))
        #expect(found.contains { if case .value(let line, theirs: "3") = $0 { line.value == "5" } else { false } })
        #expect(
            found.contains { if case .value(let line, theirs: nil) = $0 { line.key == .perConnection } else { false } }
        )
        #expect(google.differences(from: []) == [.missing])
    }
}
