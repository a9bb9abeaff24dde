// StatusScreenTests.swift — the screen of `martlet status`, and tables that fit a terminal.

import JSON
import Testing

@testable import Operator

@Suite struct StatusScreenTests {
    private static let plain = Terminal(columns: nil, variables: [:])

    private static func json(_ text: String) throws -> JSON { try #require(JSON(Array(text.utf8))) }

    private static func screen(
        disabled: Bool = false,
        refused: String = "",
        destinations: String = "",
        checks: String = "",
        _ terminal: Terminal = plain
    ) throws -> String {
        let stats = try json(
            #"{"messages": 3, "queued_bytes": 2048, "oldest_age_s": 125, "in_progress": 1, "waiting": 0, "temp_failed": 2, "#
                + #""held": 0, "disabled": \#(disabled), "disabled_origin": "file", "config_errors": [], "refused_logins": "#
                + #"[\#(refused)], "destinations": [\#(destinations)], "destination_count": 7, "free_bytes": 1073741824, "#
                + #""totals": {"accepted": 9, "delivered": 6, "deferred": 2, "bounced": 0, "removed": 0}, "rates_per_s": "#
                + #"{"accepted": {"5m": 0.5}, "delivered": {"5m": 0.25}, "deferred": {"5m": 0}, "bounced": {"5m": 0}}, "#
                + #""started_at": "1970-01-01T00:00:00.000Z", "version": "1"}"#
        )
        let ready = try json(#"{"checks": [\#(checks)]}"#)
        return StatusScreen(stats: stats, ready: ready, terminal: terminal, now: 90).text
    }

    @Test func aRelayThatIsWellFitsAScreen() throws {
        let destination =
            #"{"route": "x.example", "parcels": 2, "waiting": 1, "in_progress": 1, "sessions": 1, "rests_until": null}"#
        let text = try Self.screen(destinations: Array(repeating: destination, count: 6).joined(separator: ", "))
        #expect(
            text == """
                Delivering.

                Queue     3 messages, 2.0K, the oldest for 2m 5s
                          1 being sent, 0 due, 2 put off, 0 held
                Last 5m   per second: 0.5 taken, 0.25 delivered, 0 put off, 0 bounced
                Since     the start 1m 30s ago: 9 taken, 6 delivered, 0 bounced; version 1
                Room      1.0G free for the queue

                MOST MAIL FOR  PARCELS  DUE  BEING SENT  STATE
                x.example      2        1    1           1 sessions
                x.example      2        1    1           1 sessions
                x.example      2        1    1           1 sessions
                x.example      2        1    1           1 sessions
                x.example      2        1    1           1 sessions
                … and 2 more: martlet status --json
                """
        )
    }

    @Test func whatIsWrongStandsOnTop() throws {
        let refused = #"{"host": "smtp.example:587", "reply": "535 5.7.8 no", "at": "1970-01-01T00:00:00.000Z"}"#
        let text = try Self.screen(
            disabled: true,
            refused: refused,
            checks:
                #"{"name": "logins", "status": "degraded", "detail": "1"}, {"name": "spool", "status": "failed", "detail": "full"}"#
        )
        #expect(
            text.split(separator: "\n").prefix(3) == [
                "Delivery is disabled in outbound.ini: mail is taken and waits.", "✘ spool: full",
                "✘ smtp.example:587 refuses our login, its mail waits: 535 5.7.8 no",
            ]
        )
    }

    @Test func noLineIsWiderThanTheTerminal() throws {
        let long = String(repeating: "long.", count: 30)
        let destination =
            #"{"route": "\#(long)", "parcels": 2, "waiting": 1, "in_progress": 1, "sessions": 0, "rests_until": null}"#
        let refused = #"{"host": "\#(long)", "reply": "\#(long)", "at": "1970-01-01T00:00:00.000Z"}"#
        let terminal = Terminal(columns: 80, variables: ["NO_COLOR": [0x31]])
        for line in try Self.screen(refused: refused, destinations: destination, terminal).split(separator: "\n") {
            #expect(line.count <= 80, "\(line)")
        }
    }

    @Test func coloursAreForTerminalsThatWantThem() throws {
        #expect(try Self.screen(Terminal(columns: 80, variables: [:])).hasPrefix("\u{1B}[32mDelivering."))
        for variables: [String: [UInt8]] in [["NO_COLOR": [0x31]], ["TERM": Array("dumb".utf8)]] {
            #expect(try Self.screen(Terminal(columns: 80, variables: variables)).hasPrefix("Delivering."))
        }
        #expect(try Self.screen(Self.plain).hasPrefix("Delivering."))
    }

    @Test(arguments: [(80, "", 80), (0, "", 80), (10, "", 40), (80, "120", 120)])
    func aTerminalSaysHowWideItIs(_ columns: Int, _ variable: String, _ width: Int) {
        let variables = variable.isEmpty ? [:] : ["COLUMNS": Array(variable.utf8)]
        #expect(Terminal(columns: columns, variables: variables).width == width)
        #expect(Terminal(columns: nil, variables: [:]).width == nil)
    }

    @Test func theWidestColumnGivesWay() {
        let rows = [["1", "short", String(repeating: "x", count: 100)]]
        let lines = Printout.table(["a", "b", "c"], rows, width: 40).split(separator: "\n")
        #expect(lines.allSatisfy { $0.count <= 40 })
        #expect(lines[1].hasPrefix("1  short  xxx") && lines[1].hasSuffix("…"))
    }
}
