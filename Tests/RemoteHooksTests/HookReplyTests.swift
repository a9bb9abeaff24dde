// HookReplyTests.swift — answers of programs: every code, every form of an MX, and nonsense.

import Hooks
import Mail
import Testing

@testable import RemoteHooks

@Suite struct HookReplyTests {
    private func read(_ text: String) throws(HookFault) -> HookReply { try HookReply.read(Array(text.utf8)) }

    @Test(arguments: ["", " \r\n", #"{"code":"CONT"}"#, #"{"code":"CONT","more":[1]}"#])
    func nothingAndContGoOn(text: String) throws {
        let reply = try read(text)
        #expect(try reply.sendEmail() == .next)
        #expect(try reply.getMX() == .next)
        #expect(try reply.deferred() == .next)
        #expect(try reply.bounce() == .next)
    }

    @Test(arguments: [
        (#"{"code":"OK","mx":"h.test"}"#, ["h.test:25"]),
        (#"{"code":"OK","mx":"192.0.2.1:2525"}"#, ["192.0.2.1:2525"]),
        (#"{"code":"OK","mx":{"exchange":"h.test","port":26,"priority":0}}"#, ["h.test:26"]),
        (#"{"code":"OK","mx":{"exchange":"h.test","using_lmtp":true}}"#, ["h.test:24"]),
        (#"{"code":"OK","mx":{"path":"/run/lmtp.sock"}}"#, ["/run/lmtp.sock"]),
        (#"{"code":"OK","mx":["a.test","b.test:26"]}"#, ["a.test:25", "b.test:26"]),
        (
            #"{"code":"OK","mx":[{"exchange":"a.test","priority":9},{"exchange":"b.test"}]}"#,
            ["a.test:25", "b.test:25"]
        ),
        (#"{"code":"OK","mx":{"exchange":"a.test","from_dns":"x","bind":null}}"#, ["a.test:25"]),
    ])
    func readsEveryFormOfAnMX(text: String, hosts: [String]) throws {
        guard case .use(let found) = try read(text).getMX() else {
            Issue.record("no hosts")
            return
        }
        #expect(found.map(\.description) == hosts)
    }

    @Test func readsEveryPropertyOfAnMX() throws {
        let text = #"""
            {"code":"OK","mx":{"exchange":"h.test","priority":5,"port":587,"bind":"192.0.2.9","bind_helo":"out.test",
            "auth_user":"u","auth_pass":"p","auth_type":"plain","tls":"verify"}}
            """#
        guard case .use(let hosts) = try read(text).getMX(), let mx = hosts.first else {
            Issue.record("no hosts")
            return
        }
        #expect(mx.priority == 5 && mx.port == 587 && mx.bind == IPAddress("192.0.2.9"))
        #expect(mx.bindHelo == Domain("out.test") && mx.tls == .verify)
        #expect(mx.auth == Credentials(user: "u", password: "p", mechanism: .plain))
    }

    @Test(arguments: ["{", "[]", "7", #"{"code":"MAYBE"}"#, #"{"mx":"h"}"#, #"{"code":"OK","delay":"soon"}"#])
    func saysWhatCannotBeRead(text: String) {
        #expect(throws: HookFault.self) { _ = try read(text) }
    }

    @Test(arguments: [
        #"{"code":"OK"}"#, #"{"code":"OK","mx":[]}"#, #"{"code":"OK","mx":"not a host"}"#,
        #"{"code":"OK","mx":{"exchange":"h.test","auth_user":"u","auth_pass":"@file:/etc/shadow"}}"#,
        #"{"code":"OK","mx":{"exchange":"h.test","auth_user":"u","auth_pass":"@env:HOME"}}"#,
        #"{"code":"OK","mx":{"exchange":"h.test","port":0}}"#,
        #"{"code":"DELAY","delay":3}"#,
    ])
    func hostsThatCannotBeUsedAreTrouble(text: String) throws {
        let reply = try read(text)
        #expect(throws: HookFault.self) { _ = try reply.getMX() }
    }

    @Test func delaysAreNumbers() throws {
        #expect(try read(#"{"code":"DELAY","delay":90}"#).sendEmail() == .delay(.seconds(90)))
        #expect(try read(#"{"code":"DENYSOFT","delay":0.5}"#).deferred() == .delay(.milliseconds(500)))
        for text in [
            #"{"code":"DENYSOFT"}"#, #"{"code":"DENYSOFT","delay":-1}"#, #"{"code":"DENYSOFT","delay":1e300}"#,
        ] {
            let reply = try read(text)
            #expect(throws: HookFault.self) { _ = try reply.deferred() }
        }
    }

    @Test func notesAreSetAndTakenAway() throws {
        var envelope = Envelope(sender: .null, recipients: [], notes: Notes(values: ["old": "1"]))
        let text = #"{"code":"CONT","notes":{"outbound_ip":"192.0.2.7","force_tls":true,"old":null,"n":4}}"#
        let answer = try read(text).queueOutbound(&envelope)
        #expect(answer == .next)
        #expect(envelope.notes.outboundIP == IPAddress("192.0.2.7") && envelope.notes.forceTLS)
        #expect(envelope.notes.values == ["n": "4"])
        let bad = try read(#"{"code":"CONT","notes":{"outbound_ip":"here"}}"#)
        #expect(throws: HookFault.self) {
            var other = Envelope(sender: .null, recipients: [])
            _ = try bad.queueOutbound(&other)
        }
    }

    @Test func changesOfAMessageAreRead() throws {
        var envelope = Envelope(sender: .null, recipients: [])
        envelope.recipients = [Recipient(try #require(EmailAddress("b@x.example")))]
        let text = #"""
            {"code":"CONT","add_header":{"X-A":"one","X-B":["two","Gr\u00fc\u00dfe"]},"remove_header":["X-Spam","SUBJECT"],
            "change_sender":"new@x.example","add_recipient":["c@x.example","b@x.example"],"hold":"look at it","tag":"bulk 7"}
            """#
        let answer = try read(text).queueOutbound(&envelope)
        guard case .edit(let edits) = answer else {
            Issue.record("\(answer)")
            return
        }
        #expect(edits.added.map(\.lines) == ["X-A: one\r\n", "X-B: two\r\n", "X-B: =?UTF-8?B?R3LDvMOfZQ==?=\r\n"])
        #expect(edits.removed == ["x-spam", "subject"] && edits.hold == "look at it" && edits.tag == "bulk 7")
        #expect("\(envelope.sender)" == "new@x.example")
        #expect(envelope.recipients.map(\.address.description) == ["b@x.example", "c@x.example"])
        _ = try read(#"{"code":"CONT","change_sender":"<>"}"#).queueOutbound(&envelope)
        #expect(envelope.sender == .null)
    }

    @Test(arguments: [
        #""add_header":{"X-A":"one\r\nX-B: two"}"#, #""add_header":{"From":"x"}"#, #""add_header":{"X A":"x"}"#,
        #""add_header":{"":"x"}"#, #""add_header":{"X-A":7}"#, #""remove_header":["Received"]"#,
        #""remove_header":["From"]"#, #""remove_header":["a: b"]"#,
        #""change_sender":"nobody""#, #""add_recipient":["nobody"]"#,
        #""tag":"""#, #""tag":"two\nlines""#, #""hold":7"#,
    ])
    func whatNoMessageMayHaveIsTrouble(member: String) throws {
        var envelope = Envelope(sender: .null, recipients: [])
        #expect(throws: HookFault.self) { _ = try read("{\"code\":\"CONT\",\(member)}").queueOutbound(&envelope) }
    }

    @Test func changesAreBounded() throws {
        let many = (0...MessageEdits.mostFields).map { "\"X-\($0)\":\"x\"" }.joined(separator: ",")
        #expect(throws: HookFault.self) { try read("{\"code\":\"CONT\",\"add_header\":{\(many)}}") }
        let people = (0...MessageEdits.mostRecipients).map { "\"p\($0)@x.example\"" }.joined(separator: ",")
        #expect(throws: HookFault.self) { try read("{\"code\":\"CONT\",\"add_recipient\":[\(people)]}") }
    }
}
