// LimitCommands.swift — `martlet limits …`: the sections in force, what is known of providers, what rules would have done.

package import ArgumentParser
import Config
import Files
import HTTPClient
import JSON
import Mail

private let place = "/v1/limits"

/// Limits of a running relay.
package struct LimitsCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "limits",
        abstract: "Show limits; compare them with what is known of providers; try them on what happened.",
        subcommands: [
            ListLimits.self, LimitProfilesCommand.self, DiffLimits.self, ReplayLimits.self,
        ],
        defaultSubcommand: ListLimits.self
    )

    package init() {}
}

struct ListLimits: RelayCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the sections of limits.ini.")

    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws { try list(relay, place, or: "Nothing is limited.") }
}

/// Prints profiles; asks nobody.
struct LimitProfilesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profiles",
        abstract: "Print what is known of big providers and smart hosts, as sections for limits.ini; asks nobody.",
        usage: """
            martlet limits profiles
            martlet limits profiles google yahoo >> /etc/martlet/limits.ini
            """
    )

    @Argument(help: "Names; without one all.")
    var names: [String] = []

    func run() throws {
        for name in names where !LimitProfile.shipped.contains(where: { $0.name.isSame(octets: name) }) {
            let known = LimitProfile.shipped.map(\.name).joined(separator: ", ")
            throw ValidationError("no profile is called \(Printout.clean(name)); there are \(known)")
        }
        let chosen = LimitProfile.shipped.filter { profile in
            names.isEmpty || names.contains { $0.isSame(octets: profile.name) }
        }
        print(chosen.map(\.text).joined(separator: "\n"), terminator: "")
    }
}

struct DiffLimits: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract:
            "Say where limits.ini has it otherwise than the shipped profiles, as after an upgrade; status 1 where it has.",
        discussion:
            "Sections that are not in the file are named and are no difference: whoever left them out wants it so."
    )

    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        let answer = JSON(try relay.ask("GET", place).body)
        let entries = (answer?["items"]?.elements ?? []).compactMap(Self.entry)
        var lines: [String] = []
        var missing: [String] = []
        for profile in LimitProfile.shipped {
            for difference in profile.differences(from: entries) {
                switch difference {
                case .missing: missing.append(profile.name)
                case .hosts(let theirs):
                    lines.append(
                        "\(profile.name): mx is \(theirs.joined(separator: ", ")); shipped: \(profile.hosts.joined(separator: ", "))"
                    )
                case .value(let line, let theirs):
                    lines.append(
                        "\(profile.name): \(line.key.rawValue) is \(theirs ?? "not said"); shipped: \(line.value) (\(line.source))"
                    )
                }
            }
        }
        if options.json {
            print((["differences": .strings(lines), "missing": .strings(missing)] as JSON).text)
        } else {
            lines.forEach { print(Printout.clean($0)) }
            if lines.isEmpty { print("Nothing is otherwise than shipped.") }
            if !missing.isEmpty {
                print("Not in limits.ini: \(missing.joined(separator: ", ")); see martlet limits profiles.")
            }
        }
        if !lines.isEmpty { throw ExitCode(1) }
    }

    private static func entry(_ item: JSON) -> LimitEntry? {
        guard let scope = item["scope"]?.string.flatMap({ LimitScope($0) }) else { return nil }
        var values: [LimitTerms.Key: String] = [:]
        for key in LimitTerms.Key.written { values[key] = item[key.rawValue]?.string }
        let hosts = (item["mx"]?.elements ?? []).compactMap(\.string)
        return LimitEntry(scope: scope, hosts: hosts, values: values)
    }
}

struct ReplayLimits: RelayCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Say what limits.ini, or another file, would have made of what happened.",
        usage: """
            martlet limits replay --events last-24h
            martlet limits replay --events last-7d --with /tmp/limits.ini
            martlet limits replay --since 2027-01-31T00:00:00Z --before 2027-02-01T00:00:00Z
            """
    )

    @Option(help: "How far back: last-24h, last-90m, last-7d.")
    var events = "last-24h"
    @Option(help: "From then on, instead.")
    var since: String?
    @Option(help: "Until then; default: now.")
    var before: String?
    @Option(name: .customLong("with"), help: "A file to try instead of the limits in force.")
    var file: String?
    @Option(help: "Attempts that are shown one by one.")
    var messages = 0
    @OptionGroup var options: RelayOptions

    func run(_ relay: Relay) throws {
        var body: [(String, JSON)] = [("messages", .count(messages))]
        if let before { body.append(("before", .string(before))) }
        body.append(("since", .string(try since ?? start())))
        if let file { body.append(("limits", .string(try text(of: file)))) }
        try show(try relay.ask("POST", "\(place)/replay", body: JSON.object(of: body))) { Self.words($0) }
    }

    private func start() throws -> String {
        guard let word = events.rest(behind: "last-"), let seconds = Self.seconds(String(word)) else {
            throw ValidationError("--events is last- and a time, such as last-24h")
        }
        let end = before.flatMap { Timestamp(rfc3339: $0) } ?? .now()
        return end.adding(milliseconds: -seconds * 1000).rfc3339
    }

    private static func seconds(_ text: String) -> Int64? {
        let units: [UInt8: Int64] = [
            UInt8(ascii: "s"): 1, UInt8(ascii: "m"): 60, UInt8(ascii: "h"): 3600, UInt8(ascii: "d"): 86_400,
        ]
        guard let unit = text.utf8.last.flatMap({ units[$0] }), let count = Int64(Substring(text.utf8.dropLast())),
            (1...1_000_000).contains(count)
        else { return nil }
        return count * unit
    }

    private func text(of file: String) throws -> String {
        guard let bytes = try? LinuxDisk().contents(of: file, limit: 1 << 20) else {
            throw ValidationError("\(Printout.clean(file)) cannot be read")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func words(_ answer: JSON) -> String {
        var lines = [
            "\(answer["attempts"].map(\.text) ?? "0") attempts from \(answer["since"]?.string ?? "") to \(answer["before"]?.string ?? "")"
        ]
        if answer["is_cut"]?.bool ?? false {
            lines.append("There is more than is looked at in one go: ask for less time.")
        }
        let lanes = answer["lanes"]?.elements ?? []
        let rows = lanes.map { lane in
            JSON.object(
                of: ["lane", "attempts", "delivered", "failed", "later", "sooner", "waiting", "longest_delay_s"].map {
                    ($0, lane[$0] ?? .null)
                }
            )
        }
        if !rows.isEmpty { lines.append(Printout.table(rows, width: Terminal.ofThisProcess().width)) }
        for lane in lanes {
            for note in lane["notes"]?.elements ?? [] {
                let words = ["at", "kind", "scope", "value", "reaction", "origin"].compactMap { note[$0]?.string }
                lines.append(Printout.clean((words.filter { !$0.isEmpty }).joined(separator: " ")))
            }
        }
        for message in answer["messages"]?.elements ?? [] { lines.append(message.text) }
        return lines.joined(separator: "\n")
    }
}
