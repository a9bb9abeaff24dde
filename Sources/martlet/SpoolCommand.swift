// SpoolCommand.swift — `martlet spool check` and `martlet spool export`: a stopped or damaged queue, looked at offline.

import ArgumentParser
import Storage

/// The sub-commands that need no running relay.
struct SpoolCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "spool",
        abstract: "Look at a stopped queue: verify it, or write its mail out.",
        subcommands: [CheckSpool.self, ExportSpool.self]
    )
}

/// Verifies; exits 0 for a sound spool, else 1.
struct CheckSpool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Verify every checksum of the queue, changing nothing."
    )

    @Option(help: "The data directory.")
    var data: String

    func run() throws {
        try SpoolReport.show(data, "live") { spool throws(QueueError) in try spool.check() }
    }
}

/// Exports; exits 0 when everything that is live was written, else 1.
struct ExportSpool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write every message that waits as ID.eml, its envelope as ID.json."
    )

    @Option(help: "The data directory.")
    var data: String

    @Option(help: "The directory to write to; made when missing.")
    var to: String

    func run() throws {
        try SpoolReport.show(data, "exported") { spool throws(QueueError) in try spool.export(to: to) }
    }
}

private enum SpoolReport {
    /// Runs one of the two and prints what it found.
    static func show(
        _ data: String,
        _ verb: String,
        _ body: (SpoolExport) throws(QueueError) -> SpoolExport.Report
    ) throws {
        let report: SpoolExport.Report
        do throws(QueueError) {
            report = try body(SpoolExport(directory: "\(data)/queue"))
        } catch {
            print("\(data)/queue: \(error.text)")
            throw ExitCode(1)
        }
        for id in report.live { print("\(verb) \(id)") }
        for remark in report.remarks { print("note: \(remark)") }
        for damage in report.damage { print("damaged: \(damage)") }
        print(
            "\(report.segments) segments (\(report.segmentBytes) bytes), \(report.spares) spares, \(report.records) records, "
                + "\(report.live.count) messages \(verb) (\(report.liveBytes) bytes), \(report.largeBodies) large bodies, "
                + "\(report.damage.count) damaged"
        )
        guard report.damage.isEmpty else { throw ExitCode(1) }
    }
}
