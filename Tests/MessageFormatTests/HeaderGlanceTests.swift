// HeaderGlanceTests.swift — Message-ID and tag are found in a header, whatever it looks like.

import Testing

@testable import MessageFormat

@Suite struct HeaderGlanceTests {
    @Test(arguments: [
        ("Message-ID: <a@b>\r\nX-Tag: spring\r\n\r\n", "<a@b>", "spring"),
        ("MESSAGE-id:<a@b>\r\n\r\nX-Tag: body\r\n", "<a@b>", nil),
        ("Message-ID :\r\n <a@b>\r\nx-tag:\r\n\tone\r\n two \r\n\r\n", "<a@b>", "one two"),
        ("Message-IDs: <no>\r\nX-Tag: a\r\nX-Tag: b\r\nMessage-ID: <c@d>\r\n\r\n", "<c@d>", "a"),
        ("X-Tag: cut of", nil, nil),
        ("X-Tag: \r\n\r\n", nil, nil),
        ("Message-ID: <a\u{1}b>\n\nX", "<a b>", nil),
        ("", nil, nil),
    ])
    func findsWhatEventsCarry(header: String, messageID: String?, tag: String?) {
        let glance = HeaderGlance(Array(header.utf8), tagHeader: Array("x-tag".utf8))
        #expect(glance.messageID == messageID)
        #expect(glance.tag == tag)
    }

    @Test func longValuesAreCut() {
        let header = "Message-ID: <" + String(repeating: "ä", count: 400) + ">\r\n\r\n"
        let found = HeaderGlance(Array(header.utf8), tagHeader: nil).messageID ?? ""
        #expect(found.utf8.count <= 255 && found.utf8.count > 250)
    }
}
