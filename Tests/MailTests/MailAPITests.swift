// MailAPITests.swift — next hops over HTTPS, as routes.ini names them.

import Testing

@testable import Mail

struct MailAPITests {
    @Test(arguments: [
        ("https+graph:", "https://graph.microsoft.com", "https+graph://graph.microsoft.com"),
        ("https+graph://graph.microsoft.us", "https://graph.microsoft.us", "https+graph://graph.microsoft.us"),
        (
            "https+graph://Graph.Microsoft.us:8443", "https://graph.microsoft.us:8443",
            "https+graph://graph.microsoft.us:8443"
        ),
        ("http+graph://127.0.0.1:8080", "http://127.0.0.1:8080", "http+graph://127.0.0.1:8080"),
        ("http+graph://[::1]:8080", "http://[::1]:8080", "http+graph://[::1]:8080"),
        (
            "https+ses:eu-west-1", "https://email.eu-west-1.amazonaws.com",
            "https+ses://email.eu-west-1.amazonaws.com/eu-west-1"
        ),
        (
            "https+ses:cn-north-1", "https://email.cn-north-1.amazonaws.com.cn",
            "https+ses://email.cn-north-1.amazonaws.com.cn/cn-north-1"
        ),
        (
            "https+ses://email-fips.us-east-2.amazonaws.com", "https://email-fips.us-east-2.amazonaws.com",
            "https+ses://email-fips.us-east-2.amazonaws.com/us-east-2"
        ),
        ("http+ses://localhost:9/eu-west-1", "http://localhost:9", "http+ses://localhost:9/eu-west-1"),
    ])
    func reads(_ text: String, _ base: String, _ place: String) throws {
        let mx = try #require(MX(parsing: text))
        #expect(mx.api?.base == base)
        #expect(mx.exchange == place)
        #expect(MX(parsing: place) == mx, "what is written reads back")
        #expect(mx.hasNoAddress && !mx.isSocket)
        #expect("\(mx)" == place)
    }

    @Test(arguments: [
        "http+graph:", "http+graph://graph.microsoft.com", "http+graph://127.0.0.1.evil.test", "https+graph:x",
        "https+graph://a@b", "https+graph://host/path", "https+ses:", "https+ses://host.example", "https+ses:EU",
        "http+ses:eu-west-1", "https+smtp://x", "https+graph:///sock", "https+ses://h/a/b", "https+graph://u:p@h",
    ])
    func whatIsNoneIsNone(_ text: String) { #expect(MX(parsing: text) == nil) }
}
