// StatusCommand.swift — `martlet status` on one screen, and `martlet healthcheck` for container engines.

package import ArgumentParser
import Config
import Glibc
import HTTPClient
import JSON

/// Is it delivering, how much waits, what is wrong.
package struct StatusCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show in one screen how the relay is.",
        discussion: "Every number is in --json. Colours only on a terminal, and not with NO_COLOR."
    )

    @OptionGroup package var options: RelayOptions

    package init() {}

    package func run(_ relay: Relay) throws {
        let stats = try relay.ask("GET", "/v1/stats", query: options.json ? [] : [("top", "\(StatusScreen.most)")])
        guard !options.json else { return try show(stats) { _ in "" } }
        let ready = try relay.send("GET", "/readyz")
        try show(stats) { stats in
            StatusScreen(stats: stats, ready: JSON(ready.body), terminal: .ofThisProcess(), now: ClockTime.now()).text
        }
    }
}

/// Exit status 0 while the process answers.
package struct HealthcheckCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "healthcheck",
        abstract: "Exit 0 while the relay is alive; for HEALTHCHECK and scripts.",
        discussion: """
            Prints ok, or degraded with the reasons: a full disk is no reason to restart a relay, so that is still exit \
            status 0 unless --ready is given. A broken configuration file, of which the last good version stays in force, \
            degrades too and is never an error. Leaves no line in the relay's log.
            """
    )

    @Flag(help: "Exit 1 also when the relay is alive but takes no mail.")
    var ready = false
    @OptionGroup package var options: RelayOptions

    package init() {}

    package func run() throws {
        do {
            guard let relay = try options.relayIfAny() else { return try greet() }
            do {
                try run(relay)
            } catch let error as OperatorError where error.cause == .tls && options.url == nil {
                // The certificate of the API is for another name than this machine's own; somebody answered all the same.
                try greet()
            }
        } catch let error as OperatorError {
            Output.complain(error.description)
            throw ExitCode(error.status)
        }
    }

    /// Without an API to ask: the relay is alive while it greets clients.
    private func greet() throws {
        let relay = try LocalRelay(data: options.data).relay
        guard relay.submission != nil else {
            throw OperatorError(
                "the relay listens nowhere: neither SMTP nor an API to ask; set listen in smtp.ini or admin.ini",
                status: EX_CONFIG
            )
        }
        try Submission(SubmissionPlace(relay)).greet()
        if !options.json { print("ok") }
    }

    package func run(_ relay: Relay) throws {
        let answer = try relay.send("GET", "/readyz")
        if options.json { try show(answer) { _ in "" } }
        let checks = JSON(answer.body)?["checks"]?.elements ?? []
        let reasons = checks.filter { ["failed", "degraded"].contains($0["status"]?.string) }
            .map { "\(Printout.word($0["name"] ?? .null)): \(Printout.word($0["detail"] ?? .null))" }
        switch answer.status {
        case 200:
            if !options.json { print(reasons.isEmpty ? "ok" : "degraded: \(reasons.joined(separator: "; "))") }
        case 503:
            if !options.json { print("degraded: \(reasons.joined(separator: "; "))") }
            if ready { throw ExitCode(1) }
        default:
            // Without a right to ask for reasons: alive is what counts.
            try relay.ask("GET", "/livez")
            if !options.json { print("ok") }
        }
    }
}
