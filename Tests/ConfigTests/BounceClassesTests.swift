// BounceClassesTests.swift — `bounce_classes.ini`: rules of the user, before ours.

import Mail
import Testing

@testable import Config

@Suite struct BounceClassesTests {
    private static func read(_ text: String) throws -> ReplyClassifier {
        try BounceClasses.read(INIDocument(parsing: text))
    }

    private static func word(_ table: ReplyClassifier, _ line: String, _ stage: Failure.Stage? = nil) throws -> String {
        let found = table.classify(try #require(Reply(line: line)), at: stage)
        return "\(found.replyClass.name) \(found.rule)"
    }

    @Test func askedBeforeOurs() throws {
        let table = try Self.read(
            """
            [partner]
            class = rate
            code = 550
            status = x.1.1
            text = NOT * welcome, ^come back
            phase = recipient

            [any-541]
            class = policy
            code = 541
            """
        )
        #expect(try Self.word(table, "550 5.1.1 You are not very Welcome here", .recipient) == "rate user/partner")
        #expect(try Self.word(table, "550 5.1.1 Come back", .recipient) == "rate user/partner")
        // Each condition that is given must hold.
        #expect(try Self.word(table, "550 5.1.1 please come back", .recipient) == "invalid_recipient status-mailbox")
        #expect(try Self.word(table, "550 5.1.1 you are not welcome", .mail) == "invalid_recipient status-mailbox")
        #expect(
            try Self.word(table, "550 5.1.1 welcome, you are not", .recipient) == "invalid_recipient status-mailbox"
        )
        #expect(try Self.word(table, "541 user unknown") == "policy user/any-541")
    }

    @Test func whatIsNotUnderstoodIsAnError() throws {
        for (text, line) in [
            ("class = rate", 1), ("[a]\nclass = rate", 1), ("[a]\nclass = nonsense\ncode = 550", 2),
            ("[a]\ncode = 550", 1), ("[a]\nclass = rate\ncode = 250", 3), ("[a]\nclass = rate\nstatus = 5.1", 3),
            ("[a]\nclass = rate\ntext = x", 3), ("[a]\nclass = rate\nphase = connect", 3),
            ("[a]\nclass = rate\nwhen = x", 3), ("[a]\nclass = rate, quota\ncode = 550", 2),
            ("[a b]\nclass = rate\ncode = 550", 1), ("[a]\nclass = rate\ncode = 550\n[a]\nclass = rate\ncode = 1", 4),
        ] {
            do throws(ConfigErrors) {
                _ = try BounceClasses.read(INIDocument(parsing: text))
                Issue.record("taken: \(text)")
            } catch {
                #expect(error.errors.first?.line == line, "\(text): \(error.errors)")
                #expect(error.errors.allSatisfy { $0.file == "bounce_classes.ini" })
            }
        }
    }
}
