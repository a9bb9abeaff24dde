// HeapCareTests.swift — memory goes back when it is calm, once, and once a minute where it never is.

import Testing

@testable import Process

@Suite struct HeapCareTests {
    @Test func givesBackInTheCalmAfterAStormAndOnceAMinuteOfIt() {
        var trims = 0
        let care = HeapCare { trims += 1 }
        for _ in 0..<10 { care.look(0) }
        #expect(trims == 1, "what the start left")
        for second in 1...59 { care.look(second) }
        #expect(trims == 1)
        care.look(60)
        #expect(trims == 2)
        for second in 61...70 { care.look(second) }
        #expect(trims == 2)
        for _ in 0..<10 { care.look(70) }
        #expect(trims == 3)
    }
}
