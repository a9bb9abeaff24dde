// RetryIntervalsTests.swift — the grammar of `temp_fail_intervals`.

import Testing

@testable import Config

@Suite struct RetryIntervalsTests {
    @Test(arguments: [
        ("1m, 5m*2, 1h*3", [60, 300, 300, 3600, 3600, 3600]),
        ("4s", [4]),
        ("10", [10]),
        ("1s*3", [1, 1, 1]),
        ("2d , 1H * 2", [172_800, 3600, 3600]),
        ("none", []),
        ("NONE", []),
    ])
    func expands(text: String, delays: [Int]) throws {
        #expect(try RetryIntervals.parse(text) == delays)
    }

    @Test func emptyAsksForTheDefault() throws {
        #expect(try RetryIntervals.parse("") == nil)
    }

    @Test(arguments: [
        ",", "1m,", ",1m", "1m,,2m", "1m 2m", "m", "5q", "-1m", "0", "0m", "1m*", "*2", "1m*0", "1m*-1", "1m*2*3",
        "1m*x",
        "none, 1m", "1.5m", "1m*99999999999999999999", "99999999999999999999d", "9999999999999999d", "366d", "1m*10001",
        "1m*6000,1m*6000", "1 m", "０",
    ])
    func refuses(text: String) {
        #expect(throws: ValueError.self) { try RetryIntervals.parse(text) }
    }
}
