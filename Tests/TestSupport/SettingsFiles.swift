// SettingsFiles.swift — settings as the files of a configuration directory say them, without a disk.

package import Config

/// A configuration directory that cannot be edited.
package struct SettingsFiles: ConfigSource {
    private let files: [String: String]

    /// The settings of these files on a machine called `relay.test`; mail can leave from any address.
    package static func read(_ files: [String: String]) throws -> Settings {
        let source = SettingsFiles(files: files)
        return try SettingsReader(source, hostName: "relay.test", isLocal: { _ in true }).read().settings
    }

    package func contents(of file: String, atMost limit: Int) throws(ConfigError) -> [UInt8]? {
        files[file].map { Array($0.utf8) }
    }
    package func stamp(of file: String) -> FileStamp? { nil }
    package func replace(_ file: String, with bytes: [UInt8]) throws(WriteError) -> Replacement {
        throw .readOnly(file)
    }
    package func lock() -> (any AnyObject & Sendable)? { nil }
    package func path(of file: String) -> String { file }
}
