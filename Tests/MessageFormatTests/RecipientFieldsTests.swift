// RecipientFieldsTests.swift — a header that says what the envelope says, for hops that know no envelope.

import Mail
import Testing

@testable import MessageFormat

struct RecipientFieldsTests {
    private func fit(_ header: String, _ envelope: String...) throws -> String {
        let message = Array((header + "\r\nbody\r\n").utf8)
        let addresses = try envelope.map { try #require(EmailAddress($0)) }
        let out = String(decoding: RecipientFields.fit(message, to: addresses), as: UTF8.self)
        #expect(out.hasSuffix("\r\n\r\nbody\r\n"))
        return String(out.dropLast("\r\nbody\r\n".utf8.count - 2).utf8) ?? ""
    }

    @Test func whatFitsStaysOctetByOctet() throws {
        let header = "Subject: x\r\nTO : \"B, B\" <b@b.test>,\r\n\tC@C.test (c)\r\nCc: g: d@d.test;\r\n"
        #expect(try fit(header, "b@b.test", "c@c.test", "D@d.test") == header)
    }

    @Test func whoIsNotNamedStandsInBcc() throws {
        #expect(
            try fit("To: b@b.test\r\n", "b@b.test", "c@c.test", "d@d.test", "c@c.test")
                == "To: b@b.test\r\nBcc: <c@c.test>,\r\n <d@d.test>\r\n"
        )
        #expect(try fit("Subject: x\r\n", "c@c.test") == "Subject: x\r\nBcc: <c@c.test>\r\n")
        #expect(
            try fit("To: undisclosed-recipients:;\r\n", "c@c.test")
                == "To: undisclosed-recipients:;\r\nBcc: <c@c.test>\r\n"
        )
    }

    @Test func whoIsNotOfTheEnvelopeGetsNothing() throws {
        #expect(
            try fit("To: b@b.test, \"X\" <x@x.test>\r\nCc: y@y.test\r\n", "b@b.test")
                == "X-Original-To: b@b.test, \"X\" <x@x.test>\r\nTo: <b@b.test>\r\nX-Original-Cc: y@y.test\r\n"
        )
        #expect(
            try fit("Bcc: x@x.test, b@b.test\r\nResent-To: z@z.test\r\nResent-Bcc: z@z.test\r\n", "b@b.test")
                == "Bcc: <b@b.test>\r\n"
        )
    }

    @Test(arguments: [
        "To: b@b.test, \"x\r\n", "To: <b@b.test> junk <x@x.test>\r\n", "To: b@b.test x@x.test\r\n", "To: b\r\n",
    ])
    func whatCannotBeReadNamesNobodyElse(_ header: String) throws {
        let out = try fit(header, "b@b.test")
        #expect(out.hasPrefix("X-Original-To:"), "\(out)")
        #expect(!out.contains("\r\nTo: <x@x.test>"))
        #expect(out.hasSuffix("<b@b.test>\r\n"))
    }

    @Test func aMessageWithoutAHeaderGetsOne() throws {
        let message = Array("no field here\r\nbody\r\n".utf8)
        let out = RecipientFields.fit(message, to: [try #require(EmailAddress("b@b.test"))])
        #expect(String(decoding: out, as: UTF8.self) == "Bcc: <b@b.test>\r\n\r\nno field here\r\nbody\r\n")
    }

    /// Whatever a header says, a reader of it finds those of the envelope and nobody else.
    @Test func aThousandHeaders() throws {
        var random = SystemRandomNumberGenerator()
        let people = (0..<6).map { "p\($0)@x\($0 % 3).test" }
        for _ in 0..<1000 {
            var header = ""
            for _ in 0..<Int.random(in: 0...5, using: &random) {
                let name = ["To", "Cc", "Bcc", "Resent-To", "Subject", "CC", "to"].randomElement(using: &random) ?? ""
                let who = people.shuffled(using: &random).prefix(Int.random(in: 1...4, using: &random))
                header += "\(name): \(who.map { Bool.random() ? "N <\($0)>" : $0 }.joined(separator: ",\r\n "))\r\n"
            }
            let envelope = Set(people.shuffled(using: &random).prefix(Int.random(in: 1...6, using: &random)))
            let addresses = envelope.compactMap { EmailAddress($0) }
            let out = RecipientFields.fit(Array((header + "\r\nx\r\n").utf8), to: addresses)
            var found: [String] = []
            for field in HeaderFields(Array(out.dropLast("\r\nx\r\n".utf8.count))).fields
            where ["to", "cc", "bcc", "resent-to"].contains(field.name) {
                found += AddressList(field.value).entries.compactMap { $0.address.map { "\($0)" } }
            }
            #expect(Set(found) == envelope, "\(header)")
        }
    }
}
