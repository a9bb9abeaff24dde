// ForeignImagesTests.swift — containers of other images as they are run: what their variables come to.

import Mail
import Testing

@testable import Config

struct ForeignImagesTests {
    private func environment(_ variables: [String: String]) throws -> Environment {
        try Environment(variables.mapValues { Array($0.utf8) }) { path throws(ConfigError) in
            Array(path.utf8)
        }
    }

    private func pins(_ variables: [String: String]) throws -> [String] {
        try environment(variables).pins.map { "\($0.file) \($0.section ?? "-") \($0.key)=\($0.value)" }
    }

    @Test(
        arguments: [
            (
                [
                    "SMTP_SERVER": "smtp.example", "SMTP_USERNAME": "u", "SMTP_PASSWORD": "p",
                    "SERVER_HOSTNAME": "out.example",
                ],
                [
                    "me - =out.example", "routes.ini * mx=smtp.example:587", "routes.ini * auth_user=u",
                    "routes.ini * auth_pass=@env:SMTP_PASSWORD",
                ]
            ),
            (
                [
                    "SMTP_SERVER": "smtp.example", "SMTP_USERNAME": "u", "SMTP_PASSWORD_FILE": "/run/p",
                    "SMTP_NETWORKS": "10.0.0.0/8",
                ],
                [
                    "relay_acl_allow - =10.0.0.0/8", "routes.ini * mx=smtp.example:587", "routes.ini * auth_user=u",
                    "routes.ini * auth_pass=@file:/run/p",
                ]
            ),
            (
                ["SMTP_HOST": "smtp.example", "SMTP_PORT": "465", "SMTP_TLS": "on", "SMTP_STARTTLS": "off"],
                ["routes.ini * mx=smtp.example:465", "routes.ini * tls=verify", "routes.ini * implicit_tls=true"]
            ),
            (
                ["SMTP_HOST": "smtp.example", "SMTP_TLS": "on", "SMTP_STARTTLS": "on", "SMTP_TLS_CHECKCERT": "off"],
                ["routes.ini * mx=smtp.example", "routes.ini * tls=require"]
            ),
            (
                [
                    "EXT_RELAY_HOST": "smtp.example", "EXT_RELAY_PORT": "587", "SMTP_LOGIN": "u", "SMTP_PASSWORD": "p",
                    "USE_TLS": "yes", "TLS_VERIFY": "encrypt", "ACCEPTED_NETWORKS": "10.0.0.0/8 172.16.0.0/12",
                ],
                [
                    "relay_acl_allow - =10.0.0.0/8", "relay_acl_allow - =172.16.0.0/12",
                    "routes.ini * mx=smtp.example:587",
                    "routes.ini * auth_user=u", "routes.ini * auth_pass=@env:SMTP_PASSWORD", "routes.ini * tls=require",
                ]
            ),
            (
                [
                    "SMARTHOST_ADDRESS": "smtp.example", "SMARTHOST_PORT": "587", "SMARTHOST_USER": "u",
                    "SMARTHOST_PASSWORD": "p",
                    "SMARTHOST_ALIASES": "*.example", "MAILNAME": "out.example",
                    "RELAY_NETWORKS": ":10.0.0.0/8:192.168.0.0/16",
                ],
                [
                    "relay_acl_allow - =10.0.0.0/8", "relay_acl_allow - =192.168.0.0/16", "me - =out.example",
                    "routes.ini * mx=smtp.example:587", "routes.ini * auth_user=u",
                    "routes.ini * auth_pass=@env:SMARTHOST_PASSWORD",
                ]
            ),
            (
                ["GMAIL_USER": "a@gmail.com", "GMAIL_PASSWORD": "p"],
                [
                    "routes.ini * mx=smtp.gmail.com:587", "routes.ini * auth_user=a@gmail.com",
                    "routes.ini * auth_pass=@env:GMAIL_PASSWORD", "routes.ini * tls=require",
                ]
            ),
            (
                ["SES_USER": "u", "SES_PASSWORD": "p", "SES_REGION": "eu-west-1"],
                [
                    "routes.ini * mx=email-smtp.eu-west-1.amazonaws.com:587", "routes.ini * auth_user=u",
                    "routes.ini * auth_pass=@env:SES_PASSWORD", "routes.ini * tls=require",
                ]
            ),
            (
                ["RELAY_HOST": "smtp.example", "RELAY_USER": "u", "RELAY_PASS": "p", "MYNETWORKS": "10.0.0.0/8"],
                [
                    "relay_acl_allow - =10.0.0.0/8", "routes.ini * mx=smtp.example:587", "routes.ini * auth_user=u",
                    "routes.ini * auth_pass=@env:RELAY_PASS",
                ]
            ),
            (["MESSAGE_SIZE_LIMIT": "500000"], ["smtp.ini limits message_bytes=500000"]),
            // Without a smart host of theirs these are nobody's words.
            (["SMTP_PASSWORD": "p", "SMTP_PORT": "25", "SMTP_USER": "u", "MAILNAME": "x", "USE_TLS": "yes"], []),
            (["SMTP_PORT": "tcp://10.0.0.1:25", "SMTP_SERVICE_HOST": "10.0.0.1"], []),
        ] as [([String: String], [String])]
    )
    func comesTo(variables: [String: String], wanted: [String]) throws {
        #expect(try pins(variables) == wanted)
    }

    @Test func whatIsNotTakenIsNamed() throws {
        let notes = try environment(["SMTP_SERVER": "a.example", "OVERWRITE_FROM": "x@a.example", "SMTP_TLS": "no"])
            .notes
        #expect(notes.contains { $0.contains("OVERWRITE_FROM") } && notes.contains { $0.contains("SMTP_TLS") })
        #expect(throws: ConfigErrors.self) { try environment(["EXT_RELAY_HOST": "a.example", "TLS_VERIFY": "much"]) }
    }
}
