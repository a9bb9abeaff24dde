// WebURLTests.swift — which host a URL names, and what is no URL.

import HTTPClient
import Testing

@Suite struct WebURLTests {
    @Test(arguments: [
        ("http://127.0.0.1:80/", "127.0.0.1", 80, true), ("http://localhost/x", "localhost", 80, true),
        ("http://LOCALHOST/", "localhost", 80, true), ("http://[::1]:8080/", "[::1]", 8080, true),
        ("https://token.example/a?b=@c", "token.example", 443, true),
        ("http://token.example/", "token.example", 80, false),
        ("http://127.0.0.1.example/", "127.0.0.1.example", 80, false),
        ("http://localhost.example/", "localhost.example", 80, false),
        ("http://127.0.0.10/", "127.0.0.10", 80, false), ("http://localhost./", "localhost.", 80, false),
        ("http://token.example#http://127.0.0.1/", "token.example", 80, false),
        ("http://token.example?http://127.0.0.1/", "token.example", 80, false),
    ])
    func namesTheHostThatIsAsked(text: String, host: String, port: Int, isConfidential: Bool) throws {
        let url = try WebURL(text)
        #expect(url.host == host)
        #expect(Int(url.port) == port)
        #expect(url.isConfidential == isConfidential)
    }

    @Test func aPlaceIsTheSameHoweverItIsWritten() throws {
        let url = try WebURL("https://login.example/token?a=1")
        for text in ["https://LOGIN.example:443/token?a=1", "https://login.example/token?a=1"] {
            #expect(try WebURL(text).isSame(as: url), "\(text)")
        }
        for text in [
            "http://login.example/token?a=1", "https://login.example:8443/token?a=1", "https://login.example/token?a=2",
            "https://login.example/Token?a=1", "https://login.example", "https://example/token?a=1",
        ] {
            #expect(try !WebURL(text).isSame(as: url), "\(text)")
        }
    }

    @Test func anotherNameOfItsHostChangesNothingElse() throws {
        #expect(
            try WebURL("https://login.example:8443/token?a=:1#x").with(host: "b").text == "https://b:8443/token?a=:1#x"
        )
        #expect(try WebURL("http://[::1]:80/x").with(host: "b").text == "http://b:80/x")
        #expect(try WebURL("http://h").with(host: "b").text == "http://b")
    }

    @Test(arguments: [
        "http://127.0.0.1:80@other.example/", "https://127.0.0.1@other.example/", "http://localhost:80@other.example",
        "http://u:geheim@127.0.0.1/", "http://@127.0.0.1/", "http://:@127.0.0.1/", "https://u@h", "http://a@b@c/",
        "http:///u:p@other.example/", "http://", "http:///", "http://?x", "ftp://127.0.0.1/", "127.0.0.1", "",
        "https:/h",
        "http://127.0.0.1\\@other.example/", "http://127.0.0.1\u{301}@other.example/", "http://h :80/",
        "http://h:99999/",
        "http://h:x/", "http://h\n/", "http://[::1/", "HTTP\u{301}://h/",
    ])
    func refusesLoginsAndNonsense(text: String) {
        do throws(HTTPError) {
            let url = try WebURL(text)
            Issue.record("\(text) became \(url.host)")
        } catch {
            #expect(error.kind == .invalidRequest)
            #expect(!error.text.contains("geheim"))
        }
    }
}
