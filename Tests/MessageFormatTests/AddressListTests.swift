// AddressListTests.swift — who is named in a list of addresses, however it was written, and what is refused.

import Mail
import Testing

@testable import MessageFormat

struct AddressListTests {
    /// Local parts without a domain stand as `local@?`.
    private static func read(_ text: String) -> (found: [String], isSound: Bool) {
        let list = AddressList(text.utf8)
        return (list.entries.map { "\($0.local ?? "?")@\($0.domain?.name ?? "?")" }, list.fault == nil)
    }

    @Test(arguments: [
        ("a@x.example", "a@x.example"), ("A@X.Example", "A@x.example"), ("root", "root@?"), ("", ""), (" \r\n\t", ""),
        ("a@x.example, b@y.example,c@z.example", "a@x.example b@y.example c@z.example"),
        ("a@x.example,, ,b@y.example;", "a@x.example b@y.example"),
        ("a@x.example; b@y.example", "a@x.example b@y.example"),
        ("Ann Author <a@x.example>", "a@x.example"), ("\"Author, Ann\" <a@x.example>", "a@x.example"),
        ("\"a \\\" < b@y.example\" <a@x.example>", "a@x.example"), ("Dr. Ann B. <a@x.example>", "a@x.example"),
        ("Ann [Sales] <a@x.example>", "a@x.example"), ("a@y.example <a@x.example>", "a@x.example"),
        ("(one, <two>) a@x.example (th(r)ee\\) ), b@y.example", "a@x.example b@y.example"),
        ("a (the best)@(really)x(!).example", "a@x.example"), ("a . b @ x . example", "a.b@x.example"),
        ("Ann\r\n <a@x.example>,\r\n\tBob <b\r\n @y.example>", "a@x.example b@y.example"),
        ("friends: a@x.example, \"Bob\" <b@y.example>;", "a@x.example b@y.example"),
        ("undisclosed-recipients:;", ""), ("undisclosed recipients: ;, a@x.example", "a@x.example"),
        ("a: b@x.example; c: d@x.example, e@x.example;", "b@x.example d@x.example e@x.example"),
        ("<@y.example,@z.example:a@x.example>", "a@x.example"), ("< a@x.example >", "a@x.example"),
        ("\"john doe\"@x.example", "\"john doe\"@x.example"), ("\"a,b;c:d@e\"@x.example", "\"a,b;c:d@e\"@x.example"),
        ("<\"a\\\"\\\\b\"@x.example>", "\"a\\\"\\\\b\"@x.example"), ("a.\"b c\"@x.example", "\"a.b c\"@x.example"),
        ("u@[192.0.2.1]", "u@[192.0.2.1]"), ("u@[IPv6:2001:db8::1]", "u@[IPv6:2001:db8::1]"),
        ("U <u@[ IPv6:2001:DB8::1 ]>, v@x.example", "u@[IPv6:2001:db8::1] v@x.example"),
        ("\u{C4}nne \u{D6}zt\u{FC}rk <\u{E4}@b\u{FC}cher.example>", "\u{E4}@xn--bcher-kva.example"),
        ("a@x.example.", "a@x.example"),
        ("a/b=c+d{e}|f~g@x.example", "a/b=c+d{e}|f~g@x.example"),
        ("root, \"ann lee\", bob", "root@? \"ann lee\"@? bob@?"),
    ])
    func names(text: String, expected: String) {
        let (found, isSound) = Self.read(text)
        #expect(found.joined(separator: " ") == expected)
        #expect(isSound)
    }

    @Test(arguments: [
        "John Doe a@x.example", "a b", "a@x.example b@y.example", "a@b@x.example", "a@", "@x.example", "<>", "Ann <>",
        "a..b@x.example", ".a@x.example", "a.@x.example", "a@x..example", "a@-x.example", "a@[1.2.3]", "a@[x",
        "\"a@x.example",
        "(a@x.example", "Ann <a@x.example", "Ann <a@x.example> b@y.example", "Ann <a@x.example> <b@y.example>",
        "a\u{0}b@x.example", "a\u{7F}@x.example", "\u{85}@x.example", "a@x.example\\", "a)@x.example", "a@x]",
        "a@\"x.example\"",
        "a@\u{2603}\u{FFFF}.example", "\"a\u{1}\"@x.example",
    ])
    func refuses(text: String) {
        #expect(!Self.read(text).isSound)
        #expect(!Self.read("ok@x.example, \(text)").isSound)
    }

    @Test func octetsThatAreNoTextAreRefused() {
        let latin = { (text: String) in text.unicodeScalars.map { UInt8($0.value) } }
        #expect(AddressList(latin("Ren\u{E9}@x.example")).fault != nil)
        #expect(AddressList(latin("a@b\u{FC}cher.example")).entries.isEmpty)
        let named = AddressList(latin("Ren\u{E9} <a@x.example>, \"\u{FC}\" (\u{DF}) <b@y.example>"))
        #expect(named.fault == nil, "a name is passed over, whatever its letters")
        #expect(named.entries.map { $0.address?.description } == ["a@x.example", "b@y.example"])
        #expect(AddressList(one: latin("Ren\u{E9} <a@x.example>")).fault == .badText)
    }

    @Test func keepsCombiningMarksApart() {
        // By Characters neither the comma nor the @ would be seen.
        #expect(Self.read("a@x.example,\u{301}b@y.example").found == ["a@x.example", "\u{301}b@y.example"])
    }

    @Test(arguments: [
        ("a@x.example", "", "a@x.example"), ("Ann Author <a@x.example>", "Ann Author", "a@x.example"),
        ("\"Author, Ann\" <a@x.example>", "Author, Ann", "a@x.example"),
        ("Author, Ann <a@x.example>", "Author, Ann", "a@x.example"),
        ("Ann (Sales) <a@x.example>", "Ann (Sales)", "a@x.example"),
        ("\"a \\\"b\\\"\" <a@x.example>", "a \"b\"", "a@x.example"),
        ("  <a@x.example> ", "", "a@x.example"), ("Team: A <a@x.example>", "Team: A", "a@x.example"),
        ("\u{C4}nne <a@b\u{FC}cher.example>", "\u{C4}nne", "a@xn--bcher-kva.example"),
        ("\"john doe\"@x.example", "", "\"john doe\"@x.example"),
    ])
    func oneMailbox(text: String, name: String, address: String) {
        let mailbox = Mailbox(text)
        #expect(mailbox?.name == name)
        #expect(mailbox?.address.description == address)
    }

    @Test(arguments: [
        "", "root", "a@x.example, b@y.example", "a@x.example, B <b@y.example>", "a@x.example;", "Ann <a@x.example>, b",
        "Ann <a@x.example> <b@y.example>", "Ann <a>", "Ann\r\nX: y <a@x.example>\u{0}", "A\u{1}nn <a@x.example>",
        "group: a@x.example;",
    ])
    func notOneMailbox(text: String) { #expect(Mailbox(text) == nil) }
}
