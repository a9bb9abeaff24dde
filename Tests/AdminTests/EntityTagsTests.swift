// EntityTagsTests.swift — lists of entity tags as RFC 9110 §8.8.3 writes them.

import Testing

@testable import Admin

@Suite struct EntityTagsTests {
    @Test(arguments: [
        ("\"a\"", ["\"a\""]), ("\"a\", \"b\"", ["\"a\"", "\"b\""]), ("\"a,b\" ,\"c\"", ["\"a,b\"", "\"c\""]),
        (",, \"a\" ,", ["\"a\""]), ("\"\"", ["\"\""]), ("W/\"a\",\"b\"", ["\"a\"", "\"b\""]),
    ])
    func readsLists(_ text: String, _ tags: [String]) { #expect(EntityTags.list(text)?.map(\.text) == tags) }

    @Test(arguments: [
        "", ",", "a", "\"a", "a\"", "\"a\" \"b\"", "\"a\"b", "*, \"a\"", "w/\"a\"", "W/a", "\"a b\"", "\u{301}\"a\"",
    ])
    func refusesWhatIsNone(_ text: String) { #expect(EntityTags.list(text) == nil) }

    @Test func weakOnesAreMarked() {
        #expect(EntityTags.list("W/\"a\", \"a\"")?.map(\.isWeak) == [true, false])
    }
}
