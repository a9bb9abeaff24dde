// SettingsFiles.swift — settings as the files of a configuration directory say them, without a disk.

import Config
import Mail

/// A configuration directory that cannot be edited.
struct SettingsFiles: ConfigSource {
    private let files: [String: String]

    /// The settings of these files on a machine called `relay.test`; mail can leave from any address.
    static func read(_ files: [String: String]) throws -> Settings {
        let source = SettingsFiles(files: files)
        return try SettingsReader(source, hostName: "relay.test", isLocal: { _ in true }).read().settings
    }

    func contents(of file: String, atMost limit: Int) throws(ConfigError) -> [UInt8]? {
        files[file].map { Array($0.utf8) }
    }
    func stamp(of file: String) -> FileStamp? { nil }
    func replace(_ file: String, with bytes: [UInt8]) throws(WriteError) -> Replacement { throw .readOnly(file) }
    func lock() -> (any AnyObject & Sendable)? { nil }
    func path(of file: String) -> String { file }
}
