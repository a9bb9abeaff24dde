// StatusScreen.swift — how the relay is, on one screen: delivering or why not, what is wrong, how much waits, and for whom.

import JSON

/// The text of `martlet status`.
struct StatusScreen {
    /// Destinations that are named.
    static let most = 5
    /// Columns of the names in front.
    private static let margin = 10

    let stats: JSON
    /// `/readyz`; nil when it cannot be had.
    let ready: JSON?
    let terminal: Terminal
    /// Seconds since 1970.
    let now: Int

    var text: String {
        let troubles = troubles
        var lines = [headline]
        lines += troubles.map { terminal.bad("✘ ") + fitted($0, taken: 2) }
        lines += ["", row("Queue", queue), row("", states), row("Last 5m", rates), row("Since", since)]
        if let free = stats["free_bytes"]?.integer {
            lines.append(row("Room", "\(Printout.size(bytes: free)) free for the queue"))
        }
        let destinations = destinations
        if !destinations.isEmpty { lines += ["", destinations] }
        return lines.joined(separator: "\n")
    }

    private var headline: String {
        guard stats["disabled"]?.bool == true else {
            return isTaking ? terminal.good("Delivering.") : terminal.bad("Not taking mail.")
        }
        let origin =
            switch stats["disabled_origin"]?.string {
            case "environment": "by a variable of the environment"
            case "data_directory", "memory": "by martlet outbound disable"
            default: "in outbound.ini"
            }
        return terminal.bad("Delivery is disabled \(origin): mail is taken and waits.")
    }

    private var isTaking: Bool {
        !(ready?["checks"]?.elements ?? []).contains { $0["status"]?.string == "failed" }
    }

    /// What somebody should look after, each in a sentence.
    private var troubles: [String] {
        let refusals = (stats["refused_logins"]?.elements ?? []).map {
            "\(word($0, "host")) refuses our login, its mail waits: \(word($0, "reply"))"
        }
        let files = (stats["config_errors"]?.elements ?? []).map { error in
            let line = error["line"]?.integer.map { ":\($0)" } ?? ""
            return "\(word(error, "file"))\(line): \(word(error, "reason"))"
        }
        // Those two say more than the checks that count them.
        let checks = (ready?["checks"]?.elements ?? []).filter { check in
            let name = check["name"]?.string
            return ["failed", "degraded"].contains(check["status"]?.string)
                && !(name == "logins" && !refusals.isEmpty) && !(name == "configuration" && !files.isEmpty)
        }
        return checks.map { "\(word($0, "name")): \(word($0, "detail"))" } + refusals + files
    }

    private var queue: String {
        let count = stats["messages"]?.integer ?? 0
        guard count > 0 else { return "empty" }
        let size = Printout.size(bytes: stats["queued_bytes"]?.integer ?? 0)
        let oldest = stats["oldest_age_s"]?.integer.map { ", the oldest for \(Printout.span(seconds: $0))" } ?? ""
        return "\(count) message\(count == 1 ? "" : "s"), \(size)\(oldest)"
    }

    private var states: String {
        func count(_ name: String) -> Int { stats[name]?.integer ?? 0 }
        return "\(count("in_progress")) being sent, \(count("waiting")) due, \(count("temp_failed")) put off, "
            + "\(count("held")) held"
    }

    private var rates: String {
        func rate(_ name: String) -> String { word(stats["rates_per_s"]?[name] ?? .null, "5m") }
        return "per second: \(rate("accepted")) taken, \(rate("delivered")) delivered, \(rate("deferred")) put off, "
            + "\(rate("bounced")) bounced"
    }

    private var since: String {
        let totals = stats["totals"] ?? .null
        let start = stats["started_at"]?.string.flatMap(ClockTime.second)
        let age = start.map { "the start \(Printout.span(seconds: max(0, now - $0))) ago: " } ?? ""
        return "\(age)\(word(totals, "accepted")) taken, \(word(totals, "delivered")) delivered, "
            + "\(word(totals, "bounced")) bounced; version \(word(stats, "version"))"
    }

    /// Those with most mail.
    private var destinations: String {
        let all = stats["destinations"]?.elements ?? []
        guard !all.isEmpty else { return "" }
        let rows = all.prefix(Self.most).map { one in
            let rests = one["rests_until"]?.string.flatMap(ClockTime.second)
            let state =
                rests.map { "rests for \(Printout.span(seconds: max(0, $0 - now)))" }
                ?? (one["sessions"]?.integer == 0 ? "" : "\(word(one, "sessions")) sessions")
            return [word(one, "route"), word(one, "parcels"), word(one, "waiting"), word(one, "in_progress"), state]
        }
        let more = (stats["destination_count"]?.integer ?? 0) - rows.count
        let head = ["most mail for", "parcels", "due", "being sent", "state"]
        return Printout.table(head, Array(rows), width: terminal.width)
            + (more > 0 ? "\n… and \(more) more: martlet status --json" : "")
    }

    private func row(_ name: String, _ text: String) -> String {
        name + String(repeating: " ", count: max(0, Self.margin - name.count)) + fitted(text, taken: Self.margin)
    }

    private func fitted(_ text: String, taken: Int) -> String {
        terminal.width.map { Printout.shortened(text, max(1, $0 - taken)) } ?? text
    }

    private func word(_ value: JSON, _ name: String) -> String { Printout.word(value[name] ?? .null) }
}
