// CommandLineTests.swift — what each sub-command asks the API for, what it refuses before it asks, and how it ends.

import ArgumentParser
import Glibc
import JSON
import TestSupport
import Testing

@testable import Operator

/// All of them, as below `martlet`.
private struct Root: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "martlet", subcommands: OperatorCommands.all)
}

@Suite struct CommandLineTests {
    /// The lines of requests that a command line makes, each with its body.
    private static func asked(_ words: [String], answer: String = HTTPServer.ok("{}")) throws -> [String] {
        let server = try HTTPServer { _ in answer }
        defer { server.stop() }
        let command = try #require(try Root.parseAsRoot(words) as? any RelayCommand)
        try command.run(Relay(base: "http://127.0.0.1:\(server.port)", socket: nil, token: nil))
        return server.requests.map { request in
            let line = request.prefix { $0 != "\r\n" }.replacing(" HTTP/1.1", with: "")
            let body = request.split(separator: "\r\n\r\n", maxSplits: 1).dropFirst().first ?? ""
            return body.isEmpty ? String(line) : "\(line) \(body)"
        }
    }

    @Test(arguments: [
        ("queue list", "GET /v1/queue?limit=100"),
        (
            "queue list --domain b.test --state held --state waiting --min-age 2h --sort -queued_at",
            "GET /v1/queue?state=held&state=waiting&domain=b.test&min_age_s=7200&sort=-queued_at&limit=100"
        ),
        ("queue list --sender <> --max-age 90 --limit 5", "GET /v1/queue?sender=%3C%3E&max_age_s=90&limit=5"),
        ("queue list --json --limit 0", "GET /v1/queue"),
        ("queue show 1/2", "GET /v1/queue/1%2F2"), ("queue cat x", "GET /v1/queue/x/content"),
        ("queue retry x", "POST /v1/queue/x/retry"), ("queue release x", "POST /v1/queue/x/release"),
        ("queue hold x --because why", #"POST /v1/queue/x/hold {"reason":"why"}"#),
        ("queue retry x --dry-run", "GET /v1/queue/x"),
        ("queue retry --all", #"POST /v1/queue/actions {"action":"retry","filter":{},"all":true}"#),
        (
            "queue hold --domain b.test --dry-run",
            #"POST /v1/queue/actions {"action":"hold","filter":{"domain":"b.test"},"dry_run":true}"#
        ),
        ("route show *", "GET /v1/routes/%2A"), ("route remove a.test", "DELETE /v1/routes/a.test"),
        ("ip remove *", "DELETE /v1/outbound-ips/%2A"), ("status --json", "GET /v1/stats"),
        ("ip set * --pool news", #"PUT /v1/outbound-ips/%2A {"pool":"news"}"#), ("ip health", "GET /v1/source-health"),
        ("ip set * 192.0.2.1 --with helo=a.test", #"PUT /v1/outbound-ips/%2A {"helo":"a.test","ip":["192.0.2.1"]}"#),
        ("healthcheck", "GET /readyz"), ("nodes list", "GET /v1/nodes"),
    ])
    func eachAsksForWhatItSays(_ line: String, _ request: String) throws {
        let asked = try Self.asked(line.split(separator: " ").map(String.init))
        #expect(asked == [request])
    }

    @Test(arguments: [
        "queue retry", "queue retry x --all", "queue retry x --domain b.test", "queue remove", "queue show",
        "queue cat",
        "queue list --min-age -1", "queue list --min-age 1w", "queue list --min-age 99999999999999999999d",
        "queue list --min-attempts x", "queue list --limit x", "queue nothing", "route show", "route set", "ip set *",
        "ip set * 192.0.2.1 --pool x",
        "explain", "resume", "nothing", "status extra", "queue list --no-such-option",
    ])
    func whatMakesNoSenseIsRefusedBeforeAnybodyIsAsked(_ line: String) {
        #expect(throws: (any Error).self) {
            try Root.parseAsRoot(line.split(separator: " ").map(String.init))
        }
    }

    /// The table of CommandLine.md.
    @Test(arguments: [
        (400, 1), (401, EX_NOPERM), (403, EX_NOPERM), (404, EX_NOUSER), (409, 1), (412, 1), (422, 1),
        (429, EX_TEMPFAIL),
        (500, 1), (503, EX_TEMPFAIL),
    ])
    func oneStatusForEachKindOfTrouble(_ code: Int, _ status: Int32) throws {
        let body = #"{"title":"No","detail":"because\u001b","errors":[{"pointer":"/a","message":"bad"}]}"#
        let answer = "HTTP/1.1 \(code) No\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        do {
            _ = try Self.asked(["queue", "show", "x"], answer: answer)
            Issue.record("\(code) is no failure")
        } catch let error as OperatorError {
            #expect(error.status == status)
            #expect(error.description == "No: because?;   /a bad", "for a terminal, in one line")
        }
    }

    @Test func nobodyThereIsUnavailable() throws {
        let command = try #require(try Root.parseAsRoot(["queue", "list"]) as? any RelayCommand)
        do {
            try command.run(Relay(base: "http://127.0.0.1:1", socket: nil, token: nil))
            Issue.record("somebody answered")
        } catch let error as OperatorError {
            #expect(error.status == EX_UNAVAILABLE)
        }
    }

    /// Some ids that are not there: the others are done, and the end says that it was not all.
    @Test func anIdThatIsNotThereStopsNoOther() throws {
        let body = #"{"title":"Not Found"}"#
        let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        let server = try HTTPServer { $0.hasPrefix("POST /v1/queue/b/") ? missing : HTTPServer.ok("{}") }
        defer { server.stop() }
        let command = try #require(try Root.parseAsRoot(["queue", "retry", "a", "b", "c"]) as? any RelayCommand)
        #expect(throws: ExitCode(1)) {
            try command.run(Relay(base: "http://127.0.0.1:\(server.port)", socket: nil, token: nil))
        }
        #expect(server.requests.count == 3)
    }

    @Test(
        arguments: [
            (nil, [:], nil, false), (120, [:], 120, true), (20, [:], 40, true), (120, ["COLUMNS": "60"], 60, true),
            (120, ["NO_COLOR": "1"], 120, false), (120, ["TERM": "dumb"], 120, false),
            (120, ["COLUMNS": "x"], 120, true),
            (nil, ["COLUMNS": "70"], 70, false), (0, [:], 80, true),
        ] as [(Int?, [String: String], Int?, Bool)]
    )
    func aTerminalSaysHowWideItIs(_ columns: Int?, _ words: [String: String], _ width: Int?, _ isColourful: Bool) {
        let terminal = Terminal(columns: columns, variables: words.mapValues { Array($0.utf8) })
        #expect(terminal.width == width)
        #expect(terminal.bad("x") == (isColourful ? "\u{1B}[31mx\u{1B}[0m" : "x"))
    }

    @Test(arguments: [("0", 0), ("90", 90), ("5m", 300), ("2h", 7200), ("1d", 86_400), ("1s", 1)])
    func aSpanHasAUnit(_ text: String, _ seconds: Int) { #expect(Span(argument: text)?.seconds == seconds) }

    @Test(arguments: ["", "m", "-1", "1.5h", "1w", "1 h", "9223372036854775807d", "\u{661}h", "1h\u{301}"])
    func whatIsNoSpanIsNone(_ text: String) { #expect(Span(argument: text) == nil) }
}
