// LogLevel.swift — how loud a line is, and the two forms a line may take.

/// How much a line matters: comparable, and small enough for one atomic load.
package enum LogLevel: UInt8, Hashable, Sendable, Comparable, CaseIterable {
    case trace, debug, info, notice, warning, error, critical

    /// Reads a name as it stands in a command line or in the log.
    package init?(_ name: some StringProtocol) {
        guard let level = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = level
    }

    package var name: String {
        switch self {
        case .trace: "trace"
        case .debug: "debug"
        case .info: "info"
        case .notice: "notice"
        case .warning: "warning"
        case .error: "error"
        case .critical: "critical"
        }
    }

    package static func < (a: LogLevel, b: LogLevel) -> Bool { a.rawValue < b.rawValue }
}

/// `--log-format`.
package enum LogFormat: String, Hashable, Sendable, CaseIterable {
    /// `2026-11-22T18:00:00.123Z notice delivered id=0d8… reply="250 2.0.0 Ok"`
    case text
    /// One JSON object a line: `time`, `level`, `message`, then the same keys.
    case json
    /// What Postfix would have written, for programs that read its log.
    case postfix
}
