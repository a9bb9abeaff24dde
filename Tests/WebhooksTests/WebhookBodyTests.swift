// WebhookBodyTests.swift — each format's bodies, whole: what consumers of other services take unchanged.

import Config
import History
import JSON
import Mail
import Testing

@testable import Webhooks

struct WebhookBodyTests {
    private static func event(_ type: EventType, _ change: (inout EventData) -> Void = { _ in }) -> Event {
        var data = EventData()
        data.message = QueueID(rawValue: 7)
        data.headerMessageID = "<one@shop.test>"
        data.sender = "news@shop.test"
        data.recipient = "b@example.net"
        data.tag = "spring"
        data.route = "example.net"
        data.mx = EventData.Host(host: "mx.example.net", ip: IPAddress("192.0.2.7"), port: 25)
        data.attempt = 2
        data.age = 1500
        change(&data)
        return Event(
            seq: 12,
            epoch: "abc",
            type: type,
            time: Timestamp(milliseconds: 1_700_000_000_500),
            node: "relay.test",
            data: data
        )
    }

    private static let delivered = event(.delivered) {
        $0.smtp = EventData.Words(code: 250, enhanced: EnhancedStatus(2, 0, 0), text: "taken")
    }
    private static let deferred = event(.deferred) {
        $0.smtp = EventData.Words(code: 452, enhanced: EnhancedStatus(4, 2, 2), text: "full")
        $0.reason = .mailboxFull
    }
    private static let bounced = event(.bounced) {
        $0.smtp = EventData.Words(code: 550, enhanced: EnhancedStatus(5, 1, 1), text: "nobody")
        $0.reason = .mailboxUnknown
    }
    private static let blocked = event(.bounced) {
        $0.smtp = EventData.Words(code: 554, enhanced: EnhancedStatus(5, 7, 1), text: "spam")
        $0.reason = .content
    }

    private func text(_ event: Event, _ format: WebhookSettings.Format, size: Int = 1) -> String {
        String(decoding: WebhookBody([event], format, size: size).bytes, as: UTF8.self)
    }

    @Test func standardIsTheEventItself() {
        #expect(text(Self.bounced, .standard) == Self.bounced.json.text)
        #expect(text(Self.bounced, .standard, size: 50) == "[\(Self.bounced.json.text)]")
        let body = WebhookBody([Self.bounced], .standard, size: 1)
        #expect(body.id == "evt_abc_12")
        #expect(body.headers.map(\.value) == ["application/json"])
    }

    @Test func aBatchHasOneName() {
        var other = Self.bounced
        other.seq = 15
        #expect(WebhookBody([Self.bounced, other], .sendgrid, size: 50).id == "evt_abc_12-evt_abc_15")
    }

    @Test func sendgrid() {
        let head = #"[{"email":"b@example.net","timestamp":1700000000,"smtp-id":"<one@shop.test>","event":"#
        let ids =
            #","sg_event_id":"evt_abc_12","sg_message_id":"0000000000007","category":["spring"],"ip":"192.0.2.7","#
        #expect(
            text(Self.delivered, .sendgrid) == head + #""delivered""# + ids + #""response":"250 2.0.0 taken","tls":0}]"#
        )
        #expect(
            text(Self.deferred, .sendgrid) == head + #""deferred""# + ids
                + #""response":"452 4.2.2 full","attempt":"2"}]"#
        )
        #expect(
            text(Self.bounced, .sendgrid) == head + #""bounce""# + ids
                + #""reason":"550 5.1.1 nobody","status":"5.1.1","type":"bounce","bounce_classification":"Invalid Address"}]"#
        )
        #expect(
            text(Self.blocked, .sendgrid) == head + #""bounce""# + ids
                + #""reason":"554 5.7.1 spam","status":"5.7.1","type":"blocked","bounce_classification":"Content"}]"#
        )
    }

    @Test func ses() {
        let mail =
            #""mail":{"timestamp":"2023-11-14T22:13:19.000Z","source":"news@shop.test","messageId":"0000000000007","#
            + #""destination":["b@example.net"],"headersTruncated":false,"headers":[{"name":"Message-ID","#
            + #""value":"<one@shop.test>"}],"commonHeaders":{"from":["news@shop.test"],"to":["b@example.net"],"#
            + #""messageId":"<one@shop.test>"},"tags":{"tag":["spring"]}}"#
        #expect(
            text(Self.bounced, .ses) == #"{"eventType":"Bounce","notificationType":"Bounce","# + mail
                + #","bounce":{"bounceType":"Permanent","bounceSubType":"NoEmail","bouncedRecipients":[{"emailAddress":"#
                + #""b@example.net","action":"failed","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 nobody"}],"#
                + #""timestamp":"2023-11-14T22:13:20.500Z","feedbackId":"evt_abc_12","reportingMTA":"dns; relay.test"}}"#
        )
        #expect(
            text(Self.delivered, .ses) == #"{"eventType":"Delivery","notificationType":"Delivery","# + mail
                + #","delivery":{"timestamp":"2023-11-14T22:13:20.500Z","processingTimeMillis":1500,"recipients":["#
                + #""b@example.net"],"smtpResponse":"250 2.0.0 taken","remoteMtaIp":"192.0.2.7","reportingMTA":"relay.test"}}"#
        )
        #expect(
            text(Self.deferred, .ses) == #"{"eventType":"DeliveryDelay","notificationType":"DeliveryDelay","# + mail
                + #","deliveryDelay":{"timestamp":"2023-11-14T22:13:20.500Z","delayType":"MailboxFull","delayedRecipients":["#
                + #"{"emailAddress":"b@example.net","status":"4.2.2","diagnosticCode":"smtp; 452 4.2.2 full"}]}}"#
        )
        let headers = WebhookBody([Self.bounced], .ses, size: 1).headers.map(\.name)
        #expect(headers == ["Content-Type", "x-amz-sns-rawdelivery", "x-amz-sns-message-type"])
    }

    @Test func postmark() {
        let common =
            #""MessageID":"0000000000007","ServerID":0,"MessageStream":"outbound","Tag":"spring","Metadata":{}}"#
        #expect(
            text(Self.delivered, .postmark)
                == #"{"RecordType":"Delivery","Recipient":"b@example.net","DeliveredAt":"2023-11-14T22:13:20.500Z","#
                + #""Details":"250 2.0.0 taken","# + common
        )
        #expect(
            text(Self.bounced, .postmark)
                == #"{"RecordType":"Bounce","ID":12,"Type":"HardBounce","TypeCode":1,"Name":"Hard bounce","#
                + #""Description":"The server says that there is no such mailbox.","Details":"550 5.1.1 nobody","#
                + #""Email":"b@example.net","From":"news@shop.test","BouncedAt":"2023-11-14T22:13:20.500Z","#
                + #""DumpAvailable":false,"Inactive":true,"CanActivate":true,"Subject":"","Content":"","# + common
        )
        #expect(text(Self.blocked, .postmark).contains(#""Type":"SpamNotification","TypeCode":512"#))
    }

    @Test func whatAFormatHasNoWordsForIsNotForItsReceivers() {
        var endpoint = WebhookSettings.Endpoint(name: "x")
        let told: [(WebhookSettings.Format, [Event])] = [
            (.standard, [Self.delivered, Self.deferred, Self.bounced, Self.event(.accepted)]),
            (.sendgrid, [Self.delivered, Self.deferred, Self.bounced]),
            (.ses, [Self.delivered, Self.deferred, Self.bounced]), (.postmark, [Self.delivered, Self.bounced]),
        ]
        for (format, events) in told {
            endpoint.format = format
            for event in [Self.delivered, Self.deferred, Self.bounced, Self.event(.accepted)] {
                #expect(endpoint.wants(event) == events.contains(event), "\(format) \(event.type)")
            }
        }
    }

    @Test func filtersByTypeRouteTagAndDomain() {
        var endpoint = WebhookSettings.Endpoint(name: "x")
        #expect(endpoint.eventTypes.count == EventType.allCases.count)
        endpoint.types = ["delivery.*", "message.held", "delivery.opened"]
        #expect(
            endpoint.eventTypes
                == [.deferred, .delivered, .bounced, .suppressed, .bouncedLate, .complained, .held]
        )
        #expect(endpoint.unknownTypes == ["delivery.opened"])
        endpoint.types = ["*"]
        #expect(endpoint.eventTypes.count == EventType.allCases.count)
        (endpoint.routes, endpoint.tags, endpoint.senderDomains) = (
            ["example.net"], ["winter", "spring"], ["shop.test"]
        )
        #expect(endpoint.wants(Self.bounced))
        #expect(endpoint.wants(Self.event(.bounced) { $0.route = "Example.NET" }))
        #expect(endpoint.wants(Self.event(.bounced) { $0.sender = "x@SHOP.test" }))
        #expect(!endpoint.wants(Self.event(.bounced) { $0.tag = nil }))
        #expect(!endpoint.wants(Self.event(.bounced) { $0.tag = "Spring" }))
        #expect(!endpoint.wants(Self.event(.bounced) { $0.sender = "<>" }))
        #expect(!endpoint.wants(Self.event(.bounced) { $0.sender = "x@sub.shop.test" }))
        #expect(!endpoint.wants(Self.event(.bounced) { $0.route = "*" }))
    }
}
