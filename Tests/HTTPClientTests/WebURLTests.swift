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
