// EventTests.swift — the words of events, and their form as JSON.

import JSON
import Mail
import Testing

@testable import History

@Suite struct EventTests {
    @Test func wordsAreDifferentAndFoundAgain() {
        #expect(Set(EventType.allCases.map(\.name)).count == EventType.allCases.count)
        for type in EventType.allCases { #expect(EventType(name: type.name) == type) }
        #expect(EventType(name: "delivery.delivere\u{301}d") == nil)
        #expect(EventType(name: "") == nil)
    }

    @Test func jsonSaysWhatIsKnownAndNothingElse() throws {
        var data = EventData()
        data.message = QueueID(rawValue: 7)
        data.recipient = "b@example.net"
        data.smtp = EventData.Words(code: 550, enhanced: EnhancedStatus(5, 1, 1), text: "no \"such\" user")
        data.reason = .mailboxUnknown
        data.age = 1500
        data.stages = [EventData.Stage("queued", 3)]
        let event = Event(
            seq: 12,
            epoch: "abc",
            type: .bounced,
            time: Timestamp(milliseconds: 0),
            node: "relay",
            data: data
        )
        #expect(
            event.json.text
                == #"{"id":"evt_abc_12","seq":12,"type":"delivery.bounced","time":"1970-01-01T00:00:00.000Z","node":"relay","#
                + #""data":{"message_id":"0000000000007","recipient":"b@example.net","#
                + #""smtp":{"code":550,"enhanced":"5.1.1","text":"no \"such\" user"},"class":"permanent","#
                + #""reply_class":"invalid_recipient","reason":"mailbox_unknown","reason_help":"/documentation/martlet/reasons#mailbox_unknown","#
                + #""stage_ms":{"queued":3},"delay_s":1.5}}"#
        )
    }
}
