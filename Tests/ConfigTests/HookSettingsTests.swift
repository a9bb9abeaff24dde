// HookSettingsTests.swift — which hooks wait for a program that gives no answer.

import Mail
import Testing

@testable import Config

@Suite struct HookSettingsTests {
    private func closed(_ keys: String) throws -> HookSet {
        let text = "[p]\nurl = http://127.0.0.1:1/\nhooks = queue_outbound, send_email, get_mx\n\(keys)"
        let endpoint = try #require(try HookSettings.read(INIDocument(parsing: text)).endpoints.first)
        return endpoint.closed.intersection(endpoint.hooks)
    }

    @Test(arguments: [
        ("", [Hook.getMX]), ("fail = open\n", []), ("fail = closed\n", [.queueOutbound, .sendEmail, .getMX]),
        ("fail_get_mx = open\n", []), ("fail_get_mx = closed\nfail = open\n", [.getMX]),
        ("fail = open\nfail_get_mx = closed\n", [.getMX]), ("fail_send_email = closed\n", [.sendEmail, .getMX]),
        ("fail_get_mx = open\nfail = closed\n", [.queueOutbound, .sendEmail]),
        ("fail = closed\nfail_get_mx = open\n", [.queueOutbound, .sendEmail]),
    ])
    func whatIsNotSaidWaitsForTheWay(keys: String, expected: [Hook]) throws {
        #expect(try closed(keys) == HookSet(expected))
    }
}
