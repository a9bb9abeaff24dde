// AuthorsTests.swift — who a message says it is from, and whether a login may say so.

import Mail
import MessageFormat
import Testing

struct AuthorsTests {
    @Test(arguments: [
        ("From: a@a.test\r\n", ["a@a.test"]),
        ("From: A <a@a.test>, \"B, <x@y.test>\" <b@b.test>\r\n", ["a@a.test", "b@b.test"]),
        ("From: Doe, John <a@a.test>, b@b.test\r\n", ["a@a.test", "b@b.test"]),
        ("From: (b@b.test) a@a.test (c@c.test)\r\n", ["a@a.test"]),
        ("From: Group: a@a.test, B <b@b.test>;\r\n", ["a@a.test", "b@b.test"]),
        ("From: <@c.test,@d.test:a@a.test>\r\n", ["a@a.test"]),
        ("From: a@a.test,\r\n b@b.test\r\n", ["a@a.test", "b@b.test"]),
        ("From: nobody\r\n", ["?"]),
        ("From: a@a.test, <nobody>\r\n", ["a@a.test", "?"]),
        ("From: a@a.test\r\nFrom: b@b.test\r\n", ["a@a.test", "b@b.test"]),
        ("From: <>\r\n", ["?"]),
        ("From:\r\n", []),
        ("Subject: x\r\n", []),
    ])
    func readsMailboxes(_ header: String, _ wanted: [String]) {
        let found = Authors(of: Array(header.utf8)).mailboxes.map { author in
            author.map { "\(String(decoding: $0.local, as: UTF8.self))@\($0.domain)" } ?? "?"
        }
        #expect(found == wanted)
    }

    @Test(arguments: [
        (SenderConstraint.domain, "bob@b.test", "x@b.test", true),
        (.domain, "bob@b.test", "x@a.test", false),
        (.domain, "bob@b.test", "x@sub.b.test", false),
        (.domain, "BOB@B.TEST", "x@b.test", true),
        (.domain, "b.test", "x@b.test", true),
        (.login, "bob@b.test", "bob@b.test", true),
        (.login, "bob@b.test", "sales@b.test", true),
        (.login, "bob@b.test", "bob@a.test", false),
        (.login, "bob", "bob@a.test", true),
        (.login, "bob", "eve@a.test", false),
        (.login, "b.test", "x@b.test", true),
        (.none, "bob", "eve@a.test", true),
    ])
    func aLoginSpeaksForItsDomain(_ constraint: SenderConstraint, _ login: String, _ author: String, _ may: Bool) throws
    {
        let address = try #require(EmailAddress(author))
        #expect(constraint.allows(author: Array(address.local.utf8), at: address.domain, by: login) == may)
    }
}
