// TLSReportCommand.swift — `martlet tls-reports`: what domains will be told of how mail to them was protected.

package import ArgumentParser
import JSON

/// What domains are told of TLS.
package struct TLSReportsCommand: RelayCommand {
    package static let configuration = CommandConfiguration(
        commandName: "tls-reports",
        abstract:
            "Show how sessions were protected since the last reports to their domains, and what was sent (TLSRPT)."
    )

    @OptionGroup package var options: RelayOptions

    package init() {}

    package func run(_ relay: Relay) throws {
        try list(relay, "/v1/tls-reports", or: "Nothing is counted that has not been reported.") { item in
            var (good, bad) = (0, 0)
            var faults: [String] = []
            for policy in item["policies"]?.elements ?? [] {
                good += policy["summary"]?["total-successful-session-count"]?.integer ?? 0
                bad += policy["summary"]?["total-failure-session-count"]?.integer ?? 0
                faults += (policy["failure-details"]?.elements ?? []).compactMap { $0["result-type"]?.string }
            }
            return [
                "day": item["day"] ?? nil, "domain": item["domain"] ?? nil, "protected": .count(good),
                "faults": .count(bad), "because": .string(Set(faults).sorted().joined(separator: ", ")),
            ]
        }
    }
}
