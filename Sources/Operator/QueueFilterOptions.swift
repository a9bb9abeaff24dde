// QueueFilterOptions.swift — which messages: the same words for listing and for acting.

import ArgumentParser
import JSON
import Mail

/// Filters of the API; all that are given must hold.
struct QueueFilterOptions: ParsableArguments {
    @Option(help: "All in short words, as the page takes them: to:ann@example.com from:*@shop.example age>2h.")
    var filter: String?
    @Option(
        parsing: .singleValue,
        help: "waiting, in_progress, temp_failed or held; several by repeating it.",
        completion: .list(["waiting", "in_progress", "temp_failed", "held"])
    )
    var state: [String] = []
    @Option(help: "The domain of a recipient.")
    var domain: String?
    @Option(help: "The envelope sender, or *@domain; <> for reports.")
    var sender: String?
    @Option(help: "A recipient, or *@domain.")
    var recipient: String?
    @Option(help: "The route that was chosen, as routes.ini calls it.")
    var route: String?
    @Option(help: "What the last failure was about: greylisted, connect_timeout …")
    var reason: String?
    @Option(name: .customLong("error"), help: "Text of the last error.")
    var error: String?
    @Option(name: .customLong("min-age"), help: "Seconds in the queue, at least; also 5m, 2h, 1d.")
    var minAge: Span?
    @Option(name: .customLong("max-age"), help: "Seconds in the queue, at most; also 5m, 2h, 1d.")
    var maxAge: Span?
    @Option(name: .customLong("min-attempts"), help: "Attempts so far, at least.")
    var minAttempts: Int?

    /// The same for a query, where a list is a name that comes again.
    var query: [(String, String)] {
        fields.flatMap { name, value in
            if case .array(let list) = value { return list.map { (name, Printout.word($0)) } }
            return [(name, Printout.word(value))]
        }
    }

    /// As the API names them.
    var fields: [(String, JSON)] {
        var fields: [(String, JSON)] = state.isEmpty ? [] : [("state", .array(state.map { .string($0) }))]
        let texts = [
            ("q", filter), ("domain", domain), ("sender", sender), ("recipient", recipient), ("route", route),
            ("reason", reason), ("error_contains", error),
        ]
        for (name, value) in texts { if let value { fields.append((name, .string(value))) } }
        let numbers = [
            ("min_age_s", minAge?.seconds), ("max_age_s", maxAge?.seconds), ("min_attempts", minAttempts),
        ]
        for (name, value) in numbers { if let value { fields.append((name, .count(value))) } }
        return fields
    }
}

/// A span of time on the command line.
struct Span: ExpressibleByArgument {
    let seconds: Int

    init(seconds: Int) { self.seconds = seconds }

    /// How help shows a default.
    var defaultValueDescription: String { Printout.span(seconds: seconds) }

    init?(argument: String) {
        let factors: [Unicode.Scalar: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        let factor = argument.utf8.last.flatMap { factors[Unicode.Scalar($0)] }
        let digits = factor == nil ? argument[...] : Substring(argument.utf8.dropLast())
        guard let number = Int(digits), number >= 0 else { return nil }
        let (seconds, isTooMuch) = number.multipliedReportingOverflow(by: factor ?? 1)
        guard !isTooMuch else { return nil }
        self.seconds = seconds
    }
}
