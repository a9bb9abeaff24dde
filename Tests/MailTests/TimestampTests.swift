// TimestampTests.swift — times as text, both ways, over all that there are.

import Mail
import Testing

struct TimestampTests {
    @Test(arguments: [
        ("1970-01-01T00:00:00.000Z", Int64(0)), ("1969-12-31T23:59:59.999Z", -1),
        ("2000-02-29T12:00:00.000Z", 951_825_600_000),
        ("2026-11-22T10:00:01.123Z", 1_795_341_601_123), ("2100-03-01T00:00:00.000Z", 4_107_542_400_000),
        ("0000-01-01T00:00:00.000Z", -62_167_219_200_000), ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ])
    func isTextBothWays(text: String, milliseconds: Int64) {
        #expect(Timestamp(milliseconds: milliseconds).rfc3339 == text)
        #expect(Timestamp(rfc3339: text)?.milliseconds == milliseconds)
    }

    @Test(arguments: [
        ("2026-11-22T10:00:01Z", "2026-11-22T10:00:01.000Z"), ("2026-11-22t10:00:01z", "2026-11-22T10:00:01.000Z"),
        ("2026-11-22T10:00:01.5Z", "2026-11-22T10:00:01.500Z"),
        ("2026-11-22T10:00:01.1239Z", "2026-11-22T10:00:01.123Z"),
        ("2026-11-22T10:00:01+02:00", "2026-11-22T08:00:01.000Z"),
        ("2026-11-22T10:00:01.25-00:30", "2026-11-22T10:30:01.250Z"),
        ("2026-12-31T23:59:60Z", "2027-01-01T00:00:00.000Z"), ("2024-02-29T00:00:00+23:59", "2024-02-28T00:01:00.000Z"),
    ])
    func readsWhatTheStandardAllows(text: String, expected: String) {
        #expect(Timestamp(rfc3339: text)?.rfc3339 == expected)
    }

    @Test(arguments: [
        "", "2026-11-22", "2026-11-22T10:00:01", "2026-11-22 10:00:01Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+2:00",
        "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+00:60", "2026-01-01T00:00:00Zx", "2026-01-01T00:00:00+0200",
        "+026-01-01T00:00:00Z", "2026-01-01T00:00:00Z\u{301}", "２026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.000000000000000000000Z",
    ])
    func refuses(text: String) {
        #expect(Timestamp(rfc3339: text) == nil)
    }

    @Test(arguments: [Int64.min, Int64.min + 1, -62_167_219_200_001, 253_402_300_800_000, Int64.max - 1, Int64.max])
    func timesThatNoCalendarHasAreText(milliseconds: Int64) {
        let time = Timestamp(milliseconds: milliseconds)
        #expect(time.rfc3339.utf8.count == 24)
        #expect(time.adding(milliseconds: .max).rfc3339.utf8.count == 24, "wraps and does not trap")
    }

    @Test func everyDayOfFourCenturiesComesBack() {
        for day in stride(from: Int64(0), to: 146_097, by: 7) {
            let time = Timestamp(milliseconds: day * 86_400_000 + 12_345_678)
            #expect(Timestamp(rfc3339: time.rfc3339) == time)
        }
    }
}
