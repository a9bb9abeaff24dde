// ServerDialogueTests.swift — every server dialogue against the bare machine, however its octets are cut.

import TestSupport
import Testing

struct ServerDialogueTests {
    @Test(arguments: try Dialogue.load(folder: "server"), [[], [1], [2], [3, 1, 7], [64]])
    func goesAsWritten(dialogue: Dialogue, cuts: [Int]) throws {
        let driver = MachineDriver(try DialogueSetup(dialogue), cuts: cuts)
        let differences = try dialogue.play(to: driver)
        #expect(differences.isEmpty, "\(differences.joined(separator: "\n"))")
        #expect(driver.complaint == nil)
    }

    @Test func thereAreDialogues() throws {
        #expect(try Dialogue.load(folder: "server").count >= 20)
    }
}
