// MXPropertiesTests.swift — one list of what a place to try says, for the file, the API, programs and explanations.

import JSON
import Mail
import Testing

@testable import Config

@Suite struct MXPropertiesTests {
    /// Every word of `routes.ini`, once with a password and once with a grant.
    private static let full: [(words: [(name: String, value: String)], secrets: Set<String>)] = [
        (
            [
                ("port", "2525"), ("priority", "7"), ("bind", "127.0.0.1"), ("bind_helo", "out.test"),
                ("using_lmtp", "false"), ("auth_user", "u"), ("auth_pass", "geheim"), ("auth_type", "login"),
                ("on_auth_unavailable", "defer"), ("tls", "verify"), ("implicit_tls", "true"),
            ], ["auth_pass"]
        ),
        (
            [
                ("auth_user", "u"), ("oauth_token_url", "https://t.test/a"), ("oauth_client_id", "c"),
                ("oauth_client_secret", "geheim"), ("oauth_refresh_token", "geheim"), ("oauth_scope", "s"),
            ], ["oauth_client_secret", "oauth_refresh_token"]
        ),
    ]

    private static func host(_ words: [(name: String, value: String)]) throws -> MX {
        try #require(try MX.answer([MX.Written(exchange: "h.test", properties: words)]).first)
    }

    @Test(arguments: full.indices)
    func everyWordThatWasReadIsShown(index: Int) throws {
        let (words, secrets) = Self.full[index]
        let json = try Self.host(words).json
        #expect(!String(decoding: json.bytes, as: UTF8.self).contains("geheim"))
        for (name, value) in words {
            if secrets.contains(name) {
                #expect(json["\(name)_set"] == true && json[name] == nil, "\(name)")
                continue
            }
            let shown: String? =
                switch json[name] {
                case .string(let text)?: text
                case .integer(let number)?: "\(number)"
                case .bool(let truth)?: "\(truth)"
                default: nil
                }
            #expect(shown == value, "\(name)")
        }
    }

    @Test func programsAreToldEverythingThatIsSetAndNothingSecret() throws {
        let told = try Self.host(Self.full[0].words).told
        let names = told.members.map(\.name)
        #expect(names.prefix(2) == ["priority", "exchange"] && told["exchange"] == "h.test" && told["port"] == 2525)
        #expect(Set(names) == Set(Self.full[0].words.map(\.name) + ["exchange"]).subtracting(["auth_pass"]))
        let bare = try Self.host([]).told
        #expect(
            bare.members.map(\.name) == [
                "priority", "exchange", "port", "using_lmtp", "on_auth_unavailable", "implicit_tls",
            ]
        )
    }

    @Test func aSocketHasNoPort() throws {
        let mx = try #require(try MX.answer([MX.Written(exchange: "/run/lmtp")]).first)
        #expect(mx.json["port"] == .null && mx.told["port"] == nil)
    }
}
