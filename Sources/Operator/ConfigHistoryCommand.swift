// ConfigHistoryCommand.swift — `martlet config history`: who changed which file, when, by which door, and how.

package import ArgumentParser
import HTTPClient
import JSON
import Mail

/// Changes of the configuration that the history keeps.
package struct ConfigHistoryCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "Tell who changed which file, when, by which door, and how; without secrets."
    )

    @Option(help: "At most so many, the newest.")
    var limit = 50
    @OptionGroup package var options: RelayOptions

    package init() {}

    package func run(_ relay: Relay) throws {
        var found: [JSON] = []
        var place = 0
        while true {
            let query = [("type", "config.changed"), ("after", "\(place)"), ("limit", "1000")]
            guard let answer = JSON(try relay.ask("GET", "/v1/events", query: query).body) else { break }
            found = Array((found + (answer["items"]?.elements ?? [])).suffix(max(limit, 0)))
            let last = answer["last"]?.integer ?? place
            guard last > place, answer["is_at_end"]?.bool == false else { break }
            place = last
        }
        if options.json {
            for event in found { print(event.text) }
            return
        }
        let rows = found.map { event in
            let data = event["data"] ?? .null
            return [
                event["time"]?.string ?? "", data["actor"]?.string ?? "file", data["subject"]?.string ?? "",
                data["text"]?.string ?? "",
            ]
        }
        print(rows.isEmpty ? "Nothing is known." : Printout.table(["time", "who", "file", "what"], rows))
    }
}
