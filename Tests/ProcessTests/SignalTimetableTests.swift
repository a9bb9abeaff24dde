// SignalTimetableTests.swift — a storm of SIGHUP, seconds that take longer, and how long the main thread sleeps.

import Testing

@testable import Process

struct SignalTimetableTests {
    @Test func aStormOfHangUpsMeltsIntoFiveASecond() {
        var timetable = SignalTimetable(now: 0)
        var answered: [Int64] = []
        for now in Int64(0)..<1000 {
            timetable.hangUpCame()
            if timetable.takeHangUp(at: now) {
                answered.append(now)
                timetable.hangUpAnswered(at: now)
            }
        }
        #expect(answered == [0, 200, 400, 600, 800])
    }

    @Test func theLastHangUpOfAStormIsAnswered() {
        var timetable = SignalTimetable(now: 0)
        timetable.hangUpCame()
        let is1 = timetable.takeHangUp(at: 0)
        #expect(is1)
        timetable.hangUpAnswered(at: 50)
        timetable.hangUpCame()
        timetable.hangUpCame()
        let is2 = timetable.takeHangUp(at: 249)
        #expect(!is2)
        let is3 = timetable.takeHangUp(at: 250)
        #expect(is3)
        let is4 = timetable.takeHangUp(at: 1000)
        #expect(!is4)
    }

    @Test func secondsThatWereMissedAreNotMadeUpFor() {
        var timetable = SignalTimetable(now: 0)
        let is5 = timetable.takeTick(at: 0)
        #expect(is5)
        let is6 = timetable.takeTick(at: 5000)
        #expect(is6)
        let is7 = timetable.takeTick(at: 5000)
        #expect(is7)
        let is8 = timetable.takeTick(at: 5999)
        #expect(!is8)
        let is9 = timetable.takeTick(at: 6000)
        #expect(is9)
    }

    @Test func sleepsUntilTheNextSecondOrTheOwedHangUp() {
        var timetable = SignalTimetable(now: 0)
        _ = timetable.takeTick(at: 0)
        #expect(timetable.pause(at: 300) == 700)
        timetable.hangUpAnswered(at: 300)
        timetable.hangUpCame()
        #expect(timetable.pause(at: 310) == 190)
        #expect(timetable.pause(at: 2000) == 0)
    }
}
