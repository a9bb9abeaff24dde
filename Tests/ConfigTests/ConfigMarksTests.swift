// ConfigMarksTests.swift — when two relays are set alike, and which file makes the difference.

import Testing

@testable import Config

@Suite struct ConfigMarksTests {
    private func marks(_ set: [(file: String, section: String?, key: String, value: String?)]) -> ConfigMarks {
        ConfigMarks(
            set.enumerated().map { line, one in
                Origin(file: one.file, section: one.section, key: one.key, value: one.value, place: .line(line))
            }
        )
    }

    @Test func orderAndDefaultsMakeNoDifference() {
        let one = marks([("smtp.ini", nil, "a", "1"), ("smtp.ini", "limits", "b", "2"), ("tls.ini", nil, "c", nil)])
        let two = marks([("smtp.ini", "limits", "b", "2"), ("smtp.ini", nil, "a", "1")])
        #expect(one == two)
        #expect(one.whole == two.whole)
    }

    @Test func aFileThatDiffersIsNamed() {
        let one = marks([("smtp.ini", nil, "a", "1"), ("routes.ini", "*", "mx", "x")])
        let two = marks([
            ("smtp.ini", nil, "a", "2"), ("routes.ini", "*", "mx", "x"), ("limits.ini", "lane *", "rate", "1/s"),
        ])
        #expect(one.differences(from: two) == ["limits.ini", "smtp.ini"])
        #expect(one.whole != two.whole)
        // A value is not a key, nor a section.
        #expect(marks([("a.ini", nil, "x", "yz")]) != marks([("a.ini", nil, "xy", "z")]))
    }

    @Test func whatIsEachRelaysOwnIsLeftOut() {
        let one = marks([
            ("me", nil, "", "a.test"), ("storage.ini", nil, "node", "a"), ("storage.ini", nil, "commit", "5s"),
        ])
        let two = marks([
            ("me", nil, "", "b.test"), ("storage.ini", nil, "node", "b"), ("storage.ini", nil, "commit", "5s"),
        ])
        #expect(one == two)
    }

    @Test func theTextIsReadBack() {
        let one = marks([("smtp.ini", nil, "a", "1"), ("routes.ini", "*", "mx", "x")])
        #expect(ConfigMarks(one.text) == one)
        #expect(ConfigMarks("").differences(from: one) == ["routes.ini", "smtp.ini"])
        #expect(ConfigMarks("a b c\n\nx").files.isEmpty)
    }
}
