// ConfigMarks.swift — a configuration as a digest of each file, so that relays can see whether they are set alike.
//
// Made of what is set, in files and in the environment, and shown as `config show` shows it: comments, order and spelling of files
// make no difference, and secrets are not compared. What is each relay's own is left out.

import Mail

/// What the files of a relay say, file by file.
package struct ConfigMarks: Hashable, Sendable {
    /// Hexadecimal digits of a mark.
    private static let length = 16
    /// Files, and keys of others, that two relays never have alike.
    private static let ownFiles: Set<String> = ["me"]
    private static let ownKeys: Set<String> = ["storage.ini node"]

    /// Marks by file; one in which nothing is set is left out.
    package private(set) var files: [String: String] = [:]

    init(_ origins: [Origin]) {
        for (file, found) in Dictionary(grouping: origins, by: \.file) where !Self.ownFiles.contains(file) {
            let lines = found.compactMap { origin -> String? in
                let name = "\(file) \(origin.key)"
                guard let value = origin.value, !Self.ownKeys.contains(name) else { return nil }
                return "\(origin.section ?? "")\u{0}\(origin.key)\u{0}\(value)"
            }
            if !lines.isEmpty { files[file] = Self.mark(lines.sorted()) }
        }
    }

    /// Reads the text form; what makes no sense is left out.
    package init(_ text: String) {
        for line in text.split(octet: "\n") {
            let words = line.split(octet: " ").map(String.init)
            if words.count == 2 { files[words[0]] = words[1] }
        }
    }

    /// A line for each file.
    package var text: String {
        files.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: "\n")
    }

    /// Of everything.
    package var whole: String { Self.mark([text]) }

    /// Files that say something else here than there.
    package func differences(from other: ConfigMarks) -> [String] {
        Set(files.keys).union(other.files.keys).filter { files[$0] != other.files[$0] }.sorted()
    }

    private static func mark(_ lines: [String]) -> String {
        String(Substring(Revision(of: Array(lines.joined(separator: "\n").utf8)).digest.utf8.prefix(length)))
    }
}

extension SettingsStore {
    /// What is set now, file by file.
    ///
    /// Blocks on the disk.
    package func marks() throws(ConfigErrors) -> ConfigMarks { ConfigMarks(try reader.origins()) }
}
