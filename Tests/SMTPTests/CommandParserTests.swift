// CommandParserTests.swift — what a parsed command holds; what is refused is in the dialogues.

import Mail
import Testing

@testable import SMTP

struct CommandParserTests {
    private func parse(_ line: String, allowsUTF8: Bool = false) -> Command {
        let bytes = Array(line.utf8)
        return bytes.withUnsafeBytes {
            CommandParser(me: Domain(unchecked: "relay.example")).parse($0, allowsUTF8: allowsUTF8)
        }
    }

    @Test func readsEveryParameterOfMail() throws {
        var parameters = MailParameters()
        parameters.size = 1234
        parameters.isEightBit = true
        parameters.needsUTF8 = true
        parameters.returns = .full
        parameters.envelopeID = "QQ+2B1"
        let address = try #require(EmailAddress("j\u{F6}@x.example"))
        #expect(
            parse("mail from:<j\u{F6}@X.example> ret=full size=1234  SMTPUTF8 body=8bitmime ENVID=QQ+2B1")
                == .mail(.address(address), parameters)
        )
    }

    @Test func readsEveryParameterOfRcpt() throws {
        let address = try #require(EmailAddress("\"a b\"@x.example"))
        #expect(
            parse("RCPT TO:<\"a b\"@x.example> ORCPT=rfc822;a+20b@x.example NOTIFY=DELAY,SUCCESS")
                == .rcpt(Recipient(address, notify: [.delay, .success], original: "rfc822;a+20b@x.example"))
        )
        #expect(parse("RCPT TO:<\"a b\"@x.example> NOTIFY=NEVER") == .rcpt(Recipient(address, notify: .never)))
    }

    /// The quick way and the general one must agree on what is an address and which.
    @Test func bothWaysToReadAnAddressAgree() {
        let locals = [
            "a", "a.b", ".a", "a.", "a..b", "", "!#$%&'*+-/=?^_`{|}~", "a b", "a,b", "a(b", "a\"b", "\"a\"", "A",
        ]
        let domains = [
            "x", "x.y", "X.Y", "x.", ".x", "x..y", "-x", "x-", "x-y", "x_y", "", "1.2", "x y", "x,y", "[1.2.3.4]",
            "[x]",
            String(repeating: "a", count: 63) + ".b", String(repeating: "a", count: 64) + ".b",
            String(repeating: "a.", count: 126) + "b", String(repeating: "a.", count: 127) + "b",
        ]
        for local in locals {
            for domain in domains {
                let text = "\(local)@\(domain)"
                let quick = Array(text.utf8).withUnsafeBytes { PathParser.address(Text($0)) }
                #expect(quick == EmailAddress(text), "\(text)")
            }
        }
        let long = String(repeating: "a", count: 257) + "@x"
        #expect(Array(long.utf8).withUnsafeBytes { PathParser.address(Text($0)) } == nil)
    }

    @Test func keepsTheNameOfHello() {
        #expect(parse("EHLO [IPv6:::1]") == .ehlo("[IPv6:::1]"))
        #expect(parse("helo  a.b  c") == .helo("a.b"))
        #expect(parse("EHLO " + String(repeating: "x", count: 300)) == .ehlo(String(repeating: "x", count: 255)))
    }

    @Test func readsChunkSizes() {
        #expect(parse("BDAT 0") == .bdat(size: 0, isLast: false))
        #expect(parse("BDAT 86 LAST") == .bdat(size: 86, isLast: true))
        #expect(parse("bdat  7  last ") == .bdat(size: 7, isLast: true))
    }
}
