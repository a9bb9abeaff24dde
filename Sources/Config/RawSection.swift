// RawSection.swift — a section of a file as it stands there, to be listed and written: what it means is judged where the file is read,
// so that whoever edits it may say what the file may say.

import Mail

/// Values by key, unjudged.
package struct RawSection: Hashable, Sendable {
    /// In the normal form of its file.
    package let name: String
    package let values: [String: String]
    /// Counted from 1; 0 for one that is not in the file yet.
    package let line: Int

    package init(name: String, values: [String: String], line: Int = 0) {
        (self.name, self.values, self.line) = (name, values, line)
    }

    /// The normal form of a section's name; nil for one of another kind.
    package typealias Naming = (String) -> String?

    /// Those that a file has, in their order.
    ///
    /// - Parameter keys: what is told of them.
    package static func all(in document: INIDocument, keys: [String], named: Naming) -> [RawSection] {
        document.blocks.compactMap { block in
            guard let name = named(block.name) else { return nil }
            var values: [String: String] = [:]
            for entry in block.entries where keys.contains(where: { $0.isSame(octets: entry.key) }) {
                values[entry.key] = entry.value
            }
            return RawSection(name: name, values: values, line: block.line)
        }
    }

    /// Writes it, new or in place of the one of its name.
    ///
    /// - Throws: for what cannot be said in the file.
    package func write(to document: inout INIDocument, keys: [String], named: Naming) throws(ConfigError) {
        let section = document.sections.first { named($0)?.isSame(octets: name) ?? false } ?? name
        for key in keys { try document.set(key, toAll: values[key].map { [$0] } ?? [], in: section) }
    }

    /// Takes one away.
    ///
    /// - Returns: false when there is none.
    package static func remove(_ name: String, from document: inout INIDocument, named: Naming) -> Bool {
        guard let section = document.sections.first(where: { named($0)?.isSame(octets: name) ?? false }) else {
            return false
        }
        document.removeSection(section)
        return true
    }
}
