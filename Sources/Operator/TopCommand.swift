// TopCommand.swift — `martlet top`: what the page shows first, in a terminal, again and again; `martlet qshape`: what waits by
// destination and age, as Postfix's tool of that name shows it.

package import ArgumentParser
import Glibc
import HTTPClient
import JSON

/// The relay at a glance, redrawn until somebody interrupts.
package struct TopCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Watch the relay: what martlet status shows, what waits where, and what servers said.",
        discussion: "On a terminal it is drawn again every few seconds, until Ctrl-C; otherwise once."
    )

    @Option(help: "Seconds between two drawings.")
    var every = 2

    @Flag(help: "Draw once.")
    var once = false

    @OptionGroup package var options: RelayOptions

    package init() {}

    /// Refuses numbers that make no sense.
    package func validate() throws {
        guard (1...3600).contains(every) else { throw ValidationError("--every takes 1 to 3600 seconds") }
    }

    package func run(_ relay: Relay) throws {
        let terminal = Terminal.ofThisProcess()
        let goesOn = !once && !options.json && terminal.width != nil
        while true {
            let stats = try relay.ask("GET", "/v1/stats", query: [("top", "\(StatusScreen.most)")])
            let waiting = try relay.ask("GET", "/v1/stats/waiting", query: [("top", "10")])
            guard !options.json else { return try show(waiting) { _ in "" } }
            guard let stats = JSON(stats.body), let waiting = JSON(waiting.body) else { return }
            let ready = try relay.send("GET", "/readyz")
            let now = ClockTime.now()
            let screen = StatusScreen(stats: stats, ready: JSON(ready.body), terminal: terminal, now: now).text
            let picture = WaitingScreen(waiting: waiting, width: terminal.width, now: now)
            // Home, then each line to its end, then what is left of the last drawing.
            let text = [screen, picture.text].filter { !$0.isEmpty }.joined(separator: "\n\n")
            print(goesOn ? WaitingScreen.drawn(text) : text)
            guard goesOn else { return }
            fflush(nil)
            ClockTime.pause(milliseconds: every * 1000)
        }
    }
}

/// What waits, by destination and age.
package struct QshapeCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "qshape",
        abstract: "Show what waits by destination and age.",
        discussion:
            "A column holds parcels that have waited for up to so many minutes; the last one, all that are older."
    )

    @Option(help: "Destinations to name; 40 at most.")
    var top = 40

    @OptionGroup package var options: RelayOptions

    package init() {}

    /// Refuses numbers that make no sense.
    package func validate() throws {
        guard (0...40).contains(top) else { throw ValidationError("--top takes 0 to 40") }
    }

    package func run(_ relay: Relay) throws {
        let waiting = try relay.ask("GET", "/v1/stats/waiting", query: [("top", "\(top)")])
        try show(waiting) { waiting in
            WaitingScreen(waiting: waiting, width: Terminal.ofThisProcess().width, now: ClockTime.now()).shape
        }
    }
}
