// DecodedWordsTests.swift — a Subject as people read it (RFC 2047), and the fields of a template that need one.

import Testing

@testable import MessageFormat

struct DecodedWordsTests {
    @Test(arguments: [
        ("plain text", "plain text"),
        ("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe_aus?= Ulm", "Grüße aus Ulm"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?=\r\n =?utf-8?q?b?= c", "ab c"),
        ("=?iso-8859-1?Q?Gr=FC=DFe?=", "Grüße"),
        ("=?utf-8*de?q?a?=", "a"),
        ("=?koi8-r?B?8NLJ18XU?=", "=?koi8-r?B?8NLJ18XU?="),
        ("=?utf-8?q?a=4?=", "=?utf-8?q?a=4?="),
        ("=?utf-8?q?a=+4?=", "=?utf-8?q?a=+4?="),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?q?a", "=?utf-8?q?a"),
        ("=?=", "=?="), ("", ""), ("  ", "  "),
    ])
    func wordsAreDecodedOrLeftAlone(written: String, read: String) {
        #expect(EncodedWords.decoded(written.utf8) == read)
    }
}
