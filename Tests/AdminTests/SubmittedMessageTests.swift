// SubmittedMessageTests.swift — what `POST /v1/messages` takes, and where it says no.

import JSON
import Mail
import NIOCore
import Testing

@testable import Admin

@Suite struct SubmittedMessageTests {
    private static let right: JSON = [
        "from": "A <a@a.test>", "to": ["b@b.test"], "subject": "s", "text": "t",
    ]

    private static func read(
        _ value: JSON,
        limit: Int = 10,
        largest: Int = 1 << 20
    ) throws(Problem) -> SubmittedMessage {
        let request = AdminRequest(.post, "/v1/messages")
        request.body = value.bytes
        return try SubmittedMessage(json: request, limit: limit, largest: largest)
    }

    private static func raw(_ text: String, _ query: [(String, String)]) throws(Problem) -> SubmittedMessage {
        var request = AdminRequest(.post, "/v1/messages")
        request.query = query.map { HeaderField($0.0, $0.1) }
        request.body = Array(text.utf8)
        return try SubmittedMessage(raw: request, limit: 3)
    }

    private static func pointers(_ body: () throws(Problem) -> SubmittedMessage) -> [String]? {
        do throws(Problem) {
            _ = try body()
            return nil
        } catch { return error.issues.map(\.pointer) }
    }

    @Test func theEnvelopeIsThatOfTheFieldsUnlessItIsGiven() throws {
        let plain = try Self.read(Self.right)
        #expect(plain.envelope.sender == EmailAddress("a@a.test").map { .address($0) })
        #expect(plain.envelope.recipients.map(\.address) == [EmailAddress("b@b.test")])
        var value = Self.right
        value["bcc"] = "c@c.test"
        value["cc"] = ["b@b.test", "d@d.test"]
        #expect(try Self.read(value).envelope.recipients.count == 3)
        value["envelope"] = ["mail_from": "", "rcpt_to": ["x@x.test"]]
        let given = try Self.read(value)
        #expect(given.envelope.sender == .null)
        #expect(given.envelope.recipients.map(\.address) == [EmailAddress("x@x.test")])
    }

    @Test func nullIsTheSameAsLeftOut() throws {
        var value = Self.right
        for name in ["cc", "bcc", "reply_to", "html", "headers", "attachments", "tags", "envelope", "send_at"] {
            value[name] = .some(.null)
        }
        #expect(try Self.read(value).envelope.recipients.count == 1)
    }

    @Test(
        arguments: [
            ("from", JSON.null, "/from"), ("from", "nobody", "/from"), ("to", [1], "/to/0"), ("to", "nobody", "/to/0"),
            ("to", [], "/to"), ("subject", "a\r\nBcc: x@x.test", "/subject"), ("text", 1, "/text"),
            ("text", "a\u{0}", "/text"), ("headers", ["Subject": "x"], "/headers/Subject"),
            ("headers", ["X-A": "a\nb"], "/headers/X-A"), ("headers", ["X A": "b"], "/headers/X A"),
            ("attachments", [["content": "%%%"]], "/attachments/0/content"),
            ("attachments", [["content": "YQ==", "content_type": "text"]], "/attachments/0/content_type"),
            ("attachments", [["content": "YQ==", "content_id": "a b"]], "/attachments/0/content_id"),
            ("tags", ["a b": "c"], "/tags/a b"), ("envelope", ["mail_from": nil], "/envelope/mail_from"),
            ("envelope", ["rcpt_to": ["nobody"]], "/envelope/rcpt_to/0"), ("send_at", "soon", "/send_at"),
            ("send_at", "9999-01-01T00:00:00Z", "/send_at"), ("surely-unknown", 1, "/surely-unknown"),
        ] as [(String, JSON, String)]
    )
    func whatIsWrongHasItsPointer(_ name: String, _ value: JSON, _ pointer: String) {
        var whole = Self.right
        whole[name] = .some(value)
        #expect(Self.pointers { () throws(Problem) in try Self.read(whole) } == [pointer])
    }

    @Test func recipientsAndAttachmentsAreCounted() {
        var value = Self.right
        value["to"] = .strings((0..<11).map { "r\($0)@b.test" })
        #expect(Self.pointers { () throws(Problem) in try Self.read(value) } == ["/to"])
        value = Self.right
        value["attachments"] = .array(Array(repeating: ["content": "YQ=="], count: 101))
        #expect(Self.pointers { () throws(Problem) in try Self.read(value) } == ["/attachments"])
    }

    @Test func whatBecomesTooLargeIsNotMade() {
        var value = Self.right
        // Three bytes for each: the text fits and the message does not.
        value["text"] = .string(String(repeating: "\u{1}", count: 900_000))
        do throws(Problem) {
            _ = try Self.read(value)
            Issue.record("taken")
        } catch { #expect(error.kind == .tooLarge) }
    }

    @Test func rawMailHasItsEnvelopeInTheQuery() throws {
        let query = [("from", "<>"), ("to", "a@a.test, b@b.test"), ("to", "a@a.test")]
        let message = try Self.raw("Subject: x\n\nbody\n", query)
        #expect(message.envelope.sender == .null && message.envelope.recipients.count == 2)
        #expect(String(buffer: message.content) == "Subject: x\r\n\r\nbody\r\n")
        #expect(Self.pointers { () throws(Problem) in try Self.raw("x", [("to", "a@a.test")]) } == ["?from"])
        #expect(Self.pointers { () throws(Problem) in try Self.raw("x", [("from", "a@a.test")]) } == ["?to"])
        #expect(Self.pointers { () throws(Problem) in try Self.raw("", query) } == [""])
        #expect(Self.pointers { () throws(Problem) in try Self.raw("a\u{0}", query) } == [""])
    }
}
