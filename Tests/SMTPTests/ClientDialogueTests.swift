// ClientDialogueTests.swift — every file of Tests/Dialogues/client, against parser and machine.

import TestSupport
import Testing

struct ClientDialogueTests {
    static let dialogues: [Dialogue] = (try? Dialogue.load(folder: "client")) ?? []

    @Test func findsTheDialogues() throws {
        #expect(try Dialogue.load(folder: "client").count >= 30)
    }

    @Test(arguments: dialogues)
    func holds(_ dialogue: Dialogue) throws {
        try ClientScript.run(dialogue, bytewise: false)
        let dependsOnPackets = dialogue.lines.contains { line in
            if case .directive("packets", _) = line.step { true } else { false }
        }
        if !dependsOnPackets { try ClientScript.run(dialogue, bytewise: true) }
    }
}
