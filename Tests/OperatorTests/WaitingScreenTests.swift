// WaitingScreenTests.swift — `martlet qshape` and the lower half of `martlet top`.

import JSON
import Testing

@testable import Operator

@Suite struct WaitingScreenTests {
    private static func screen(_ text: String, width: Int? = nil) throws -> WaitingScreen {
        WaitingScreen(waiting: try #require(JSON(Array(text.utf8))), width: width, now: 100)
    }

    @Test func destinationsAreShownByAge() throws {
        let screen = try Self.screen(
            #"{"age_bounds_s": [300, 600], "routes": [{"route": "a.test", "parcels": 5, "ages": [2, 0, 3]}, "#
                + #"{"route": "b\u001b.test", "parcels": 1, "ages": [0, 1, 0]}], "other_routes": 2, "other_parcels": 4, "problems": []}"#
        )
        #expect(
            screen.text == """
                DESTINATION  ALL  5M  10M  >10M
                TOTAL        10   2   1    3
                a.test       5    2   .    3
                b?.test      1    .   1    .
                … and 2 more with 4 parcels
                """
        )
    }

    @Test func whatServersSaidFollows() throws {
        let screen = try Self.screen(
            #"{"age_bounds_s": [300], "routes": [], "other_routes": 0, "other_parcels": 0, "problems": [{"parcels": 3, "route": "#
                + #""a.test", "reason": "dns", "reply": "451 4.4.3 no", "oldest_at": "1970-01-01T00:00:10.000Z"}]}"#
        )
        #expect(
            screen.text == """
                PARCELS  OLDEST  DESTINATION  REASON  THEY SAID
                3        1m 30s  a.test       dns     451 4.4.3 no
                """
        )
    }

    @Test func aDrawingCoversTheOneBefore() {
        #expect(WaitingScreen.drawn("a\n\nb") == "\u{1B}[Ha\u{1B}[K\n\u{1B}[K\nb\u{1B}[K\u{1B}[J")
    }
}
