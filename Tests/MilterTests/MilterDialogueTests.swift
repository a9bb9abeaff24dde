// MilterDialogueTests.swift — every file of Tests/Dialogues/milter, whole and octet by octet.

import TestSupport
import Testing

struct MilterDialogueTests {
    static let dialogues: [Dialogue] = (try? Dialogue.load(folder: "milter")) ?? []

    @Test func findsTheDialogues() throws {
        #expect(try Dialogue.load(folder: "milter").count >= 20)
    }

    @Test(arguments: dialogues)
    func holds(_ dialogue: Dialogue) throws {
        try MilterScript.run(dialogue, bytewise: false)
        try MilterScript.run(dialogue, bytewise: true)
    }
}
