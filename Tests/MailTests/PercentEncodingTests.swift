// PercentEncodingTests.swift — octets as `%XX`, and back, once.

import Mail
import Testing

@Suite struct PercentEncodingTests {
    @Test func whatIsNotAllowedInAPathIsEscaped() {
        #expect(PercentEncoding.encoded("sender <a/b@ü>") == "sender%20%3Ca%2Fb%40%C3%BC%3E")
        #expect(PercentEncoding.encoded("*@a.test", keeping: "*@") == "*@a.test")
        #expect(PercentEncoding.encoded("\r\n\u{0}%") == "%0D%0A%00%25")
    }

    @Test func isUndoneOnce() {
        #expect(PercentEncoding.decoded("a%2540b%c3%BC+") == "a%40bü+")
        for text in ["", "sender <a/b@ü>", "\u{0}\u{7F}", "e\u{301}"] {
            #expect(PercentEncoding.decoded(PercentEncoding.encoded(text)) == text)
        }
    }

    @Test(arguments: ["%", "%4", "%zz", "%4g", "%ff", "%C3%28", "%e\u{301}1"])
    func brokenEscapesAreRefused(_ text: String) { #expect(PercentEncoding.decoded(text) == nil) }
}

@Suite struct SubscriberTests {
    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"), ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("64:ff9b::1:192.0.2.1", "64:ff9b::"),
        ("::1", "::1"),
    ])
    func oneSubscriberHasOneAddress(_ address: String, _ subscriber: String) {
        #expect(IPAddress(address)?.subscriber == IPAddress(subscriber))
    }
}
