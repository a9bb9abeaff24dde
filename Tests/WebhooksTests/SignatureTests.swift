// SignatureTests.swift — bodies are signed as the libraries of receivers expect it.

import Config
import Mail
import Testing

@testable import Webhooks

struct SignatureTests {
    private static let text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    @Test func isThatOfTheSpecification() throws {
        let key = try #require(WebhookSettings.Key(Self.text))
        let signature = Signature(
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            at: Timestamp(milliseconds: 1_614_265_330_999),
            body: Array(#"{"test": 2432232314}"#.utf8),
            keys: [key]
        )
        #expect(signature.timestamp == 1_614_265_330)
        #expect(signature.signatures == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        #expect(signature.headers.map(\.name) == ["webhook-id", "webhook-timestamp", "webhook-signature"])
    }

    @Test func hasOneForEachKeyTheCurrentFirst() throws {
        let (first, second) = (WebhookSettings.Key(octets: Array(0..<32)), WebhookSettings.Key(octets: Array(32..<64)))
        let now = Timestamp(milliseconds: 1000)
        func sign(_ keys: [WebhookSettings.Key]) -> String {
            Signature(id: "x", at: now, body: [1], keys: keys).signatures
        }
        #expect(sign([first, second]) == "\(sign([first])) \(sign([second]))")
        #expect(sign([first]) != sign([second]))
    }

    @Test(arguments: [
        "", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
    ])
    func refusesWhatIsNoKey(_ text: String) { #expect(WebhookSettings.Key(text) == nil) }

    @Test func aKeyShowsNothing() throws {
        let key = try #require(WebhookSettings.Key(Self.text))
        #expect(!"\(key)".contains("MfKQ"))
        #expect(key.octets.count == 24)
    }
}
