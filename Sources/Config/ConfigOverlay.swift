// ConfigOverlay.swift — a configuration directory as it would be after an edit.

/// A source with other contents of some files.
struct ConfigOverlay: ConfigSource {
    private let source: any ConfigSource
    private let changed: [String: [UInt8]]

    init(_ source: any ConfigSource, _ changed: [String: [UInt8]]) {
        self.source = source
        self.changed = changed
    }

    func contents(of file: String, atMost limit: Int) throws(ConfigError) -> [UInt8]? {
        guard let bytes = changed[file] else { return try source.contents(of: file, atMost: limit) }
        guard bytes.count <= limit else { throw ConfigError(file: file, reason: "would hold more than \(limit) bytes") }
        return bytes
    }

    func stamp(of file: String) -> FileStamp? { source.stamp(of: file) }
    func path(of file: String) -> String { source.path(of: file) }
    func lock() -> (any AnyObject & Sendable)? { nil }

    func replace(_ file: String, with bytes: [UInt8]) throws(WriteError) -> Replacement {
        throw .readOnly("a trial is not written")
    }
}
