// PostAnswerTests.swift — the table of Tests/Tables/post_answers.table, Amazon's signature, and what is posted.

import HTTPClient
import Mail
import TestSupport
import Testing

@testable import Delivery

struct PostAnswerTests {
    private static let rows = (try? TruthTable.load("post_answers").rows) ?? []
    private static let kinds: [String: HTTPError.Kind] = [
        "cannotResolve": .cannotResolve, "cannotConnect": .cannotConnect, "tls": .tls, "timedOut": .timedOut,
        "broken": .broken, "tooLarge": .tooLarge, "invalidRequest": .invalidRequest,
    ]

    @Test func theTableIsThere() { #expect(Self.rows.count > 30) }

    @Test(arguments: rows) func holds(_ row: TruthTable.Row) throws {
        let api = try row.cell("api") == "graph" ? MailAPI.graph(base: "") : .ses(base: "", region: "")
        var answer = PostAnswer(api)
        let text = try row.cell("answer")
        answer.status = Int(text)
        answer.trouble = Self.kinds[text]
        #expect(answer.status != nil || answer.trouble != nil)
        let word = try row.cell("word")
        answer.word = word == "-" ? "" : word
        answer.isRepeated = try row.cell("again") == "yes"
        answer.isSendersMailbox = try row.cell("mailbox") == "sender"
        let step =
            switch postStep(after: answer) {
            case .reply(let reply): "\(reply.code)/\(reply.status.map { "\($0)" } ?? "-")"
            case .renew: "renew"
            case .unknown: "unknown"
            }
        #expect(try row.cell("step") == step)
    }

    /// Whatever an API says, there is a step, and nothing is asked for a third time.
    @Test func everyStatusHasAStep() {
        for status in 0...999 {
            var answer = PostAnswer(.graph(base: ""))
            (answer.status, answer.isRepeated) = (status, true)
            #expect(postStep(after: answer) != .renew)
        }
    }

    // MARK: - Amazon's own examples

    @Test func theKeyOfADay() {
        let signature = SignatureV4(
            accessKey: "AKIDEXAMPLE",
            secretKey: Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            region: "us-east-1",
            service: "iam"
        )
        #expect(
            signature.key("20150830").hexadecimal == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
        )
    }

    @Test func aPlainRequest() {
        let signature = SignatureV4(
            accessKey: "AKIDEXAMPLE",
            secretKey: Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            region: "us-east-1",
            service: "service"
        )
        let value = signature.authorization(
            "GET",
            path: "/",
            headers: [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")],
            body: [],
            time: "20150830T123600Z"
        )
        #expect(value.hasSuffix("Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"))
        #expect(SignatureV4.text(of: Timestamp(milliseconds: 1_440_938_160_123)) == "20150830T123600Z")
    }

    // MARK: - What is posted

    private func posting(_ place: String, user: String, sender: ReversePath) throws -> Posting {
        var mx = try #require(MX(parsing: place))
        mx.auth = Credentials(user: user, password: "sesame")
        return Posting(
            login: try #require(PostLogin(mx)),
            sender: sender,
            recipients: [try #require(EmailAddress("b@b.test"))],
            message: Array("To: b@b.test\r\n\r\nhi\r\n".utf8),
            timeout: .seconds(1)
        )
    }

    @Test func theMailboxIsOursOrTheSenders() throws {
        let sender = ReversePath.address(try #require(EmailAddress("ann/x@a.test")))
        let ours = try posting("https+graph:", user: "relay@a.test", sender: sender)
        #expect(
            ours.request(Secret("t"), at: .now())?.url
                == "https://graph.microsoft.com/v1.0/users/relay@a.test/sendMail"
        )
        let each = try posting("https+graph:", user: "*", sender: sender)
        #expect(each.request(Secret("t"), at: .now())?.url.hasSuffix("/users/ann%2Fx@a.test/sendMail") == true)
        #expect(try posting("https+graph:", user: "*", sender: .null).request(Secret("t"), at: .now()) == nil)
    }

    @Test func whatComesBackIsReadAsBytes() throws {
        let posting = try posting("https+graph:", user: "*", sender: .null)
        let body = #"{"error":{"code":"Error\u0000Bad","message":"a\r\nb\u001b"}}"#
        let response = HTTPResponse(status: 429, headers: [("retry-after", "17")], body: Array(body.utf8))
        let answer = PostAnswer(.success(response), to: posting, isRepeated: false)
        #expect(answer.word == "Error?Bad")
        #expect(answer.text == "a??b?; retry after 17 s")
        #expect(answer.retryAfter == 17)
    }
}
