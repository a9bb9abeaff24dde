// QueueActions.swift — `martlet queue retry|hold|release|revive|remove` and `martlet flush`: by id, or by filter.

package import ArgumentParser
import HTTPClient
import JSON
import Mail

/// Which messages to act on, and how carefully.
struct ActionOptions: ParsableArguments {
    @Argument(help: "Ids; without any, the filters choose.", completion: QueueTable.ids)
    var ids: [String] = []
    @OptionGroup(title: "Filters") var filter: QueueFilterOptions
    @Flag(help: "Every message: needed when there is neither an id nor a filter.")
    var all = false
    @Flag(name: .customLong("dry-run"), help: "Only say how many messages it would be.")
    var dryRun = false
    @Option(help: "Why, for the log.")
    var because: String?

    func validate() throws {
        guard !ids.isEmpty || all || !filter.fields.isEmpty else {
            throw ValidationError("name ids or a filter; --all means every message")
        }
        guard ids.isEmpty || filter.fields.isEmpty && !all else {
            throw ValidationError("ids and filters exclude each other")
        }
    }
}

/// A command that does one thing to some messages.
protocol QueueActionCommand: RelayCommand {
    static var action: String { get }
    var which: ActionOptions { get }
    /// More members of the request.
    var details: [(String, JSON)] { get }
}

extension QueueActionCommand {
    var details: [(String, JSON)] { [] }

    func run(_ relay: Relay) throws {
        guard which.ids.isEmpty else { return try actOnIDs(relay) }
        var body: JSON = ["action": .string(Self.action)]
        body["filter"] = JSON.object(of: which.filter.fields)
        if which.all { body["all"] = true }
        if which.dryRun { body["dry_run"] = true }
        if let because = which.because { body["reason"] = .string(because) }
        for (name, value) in details { body[name] = value }
        let answer = try relay.ask("POST", "/v1/queue/actions", body: body)
        guard answer.status == 202, let place = JSON(answer.body)?["id"]?.string else {
            return try show(answer) { Printout.object($0) }
        }
        try show(try relay.end(of: place)) { Printout.object($0) }
    }

    private func actOnIDs(_ relay: Relay) throws {
        var failed = false
        for id in which.ids {
            do {
                let answer = try act(relay, id)
                if options.json { try show(answer) { _ in "" } } else { print("\(Self.action): \(id)") }
            } catch let error as OperatorError where error.status != 69 {
                Output.complain("\(id): \(error.description)")
                failed = true
            }
        }
        if failed { throw ExitCode(1) }
    }

    private func act(_ relay: Relay, _ id: String) throws -> HTTPResponse {
        let path = "/v1/queue/\(PercentEncoding.encoded(id))"
        if which.dryRun { return try relay.ask("GET", path) }
        if Self.action == "remove" {
            let reason = which.because.map { [("reason", $0)] } ?? []
            return try relay.ask("DELETE", path, query: reason + details.map { ($0.0, Printout.word($0.1)) })
        }
        // Only a hold has words and an end of its own.
        guard Self.action == "hold" else { return try relay.ask("POST", "\(path)/\(Self.action)") }
        var body = JSON.object(of: details)
        if let because = which.because { body["reason"] = .string(because) }
        return try relay.ask("POST", "\(path)/hold", body: body)
    }
}

/// Due now.
struct RetryMessages: QueueActionCommand {
    static let action = "retry"
    static let configuration = CommandConfiguration(commandName: "retry", abstract: "Make messages due now.")

    @OptionGroup var which: ActionOptions
    @OptionGroup var options: RelayOptions
}

/// Not before they are released.
struct HoldMessages: QueueActionCommand {
    static let action = "hold"
    static let configuration = CommandConfiguration(
        commandName: "hold",
        abstract: "Keep messages back until they are released, or until a time."
    )

    @OptionGroup var which: ActionOptions
    @Option(help: "When they go on by themselves: 2h, 30m, 7d, or a time such as 2027-01-31T06:00:00Z.")
    var until: Moment?
    @OptionGroup var options: RelayOptions
}

extension HoldMessages {
    var details: [(String, JSON)] { until.map { [("until", .string($0.time.rfc3339))] } ?? [] }
}

/// A time on the command line: a span from now, or the time itself.
struct Moment: ExpressibleByArgument {
    let time: Timestamp

    init?(argument: String) {
        if let time = Timestamp(rfc3339: argument) {
            self.time = time
        } else if let span = Span(argument: argument), span.seconds <= 1 << 32 {
            time = Timestamp.now().adding(milliseconds: Int64(span.seconds) * 1000)
        } else {
            return nil
        }
    }
}

/// The end of a hold.
struct ReleaseMessages: QueueActionCommand {
    static let action = "release"
    static let configuration = CommandConfiguration(commandName: "release", abstract: "Let held messages go on.")

    @OptionGroup var which: ActionOptions
    @OptionGroup var options: RelayOptions
}

/// What was to bounce goes on.
struct ReviveMessages: QueueActionCommand {
    static let action = "revive"
    static let configuration = CommandConfiguration(
        commandName: "revive",
        abstract: "Let messages go on that are to bounce (bounce_grace)."
    )

    @OptionGroup var which: ActionOptions
    @OptionGroup var options: RelayOptions
}

/// Gone for good.
struct RemoveMessages: QueueActionCommand {
    static let action = "remove"
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Take messages out of the queue for good."
    )

    @OptionGroup var which: ActionOptions
    @Flag(help: "Tell the senders, by a failure report.")
    var dsn = false
    @OptionGroup var options: RelayOptions

    var details: [(String, JSON)] { dsn ? [("dsn", "send")] : [] }
}

/// All that failed for now is due.
package struct FlushCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "flush",
        abstract: "Make everything that failed for now due now; what SIGHUP does."
    )

    @OptionGroup(title: "Filters") var filter: QueueFilterOptions
    @OptionGroup package var options: RelayOptions

    package init() {}

    package func run(_ relay: Relay) throws {
        let fields = filter.fields
        guard fields.contains(where: { $0.0 != "domain" }) else {
            let answer = try relay.ask("POST", "/v1/queue/flush", body: JSON.object(of: fields))
            return try show(answer) { Printout.object($0) }
        }
        let wanted = fields.contains { $0.0 == "state" } ? fields : fields + [("state", "temp_failed")]
        let body: JSON = ["action": "retry", "filter": JSON.object(of: wanted)]
        let answer = try relay.ask("POST", "/v1/queue/actions", body: body)
        guard let job = JSON(answer.body)?["id"]?.string else { return try show(answer) { Printout.object($0) } }
        try show(try relay.end(of: job)) { Printout.object($0) }
    }
}

extension Relay {
    /// Follows a job until it is over.
    fileprivate func end(of job: String) throws -> HTTPResponse {
        while true {
            let answer = try ask("GET", "/v1/jobs/\(PercentEncoding.encoded(job))")
            guard JSON(answer.body)?["finished_at"] == .null else { return answer }
            ClockTime.pause(milliseconds: 100)
        }
    }
}
