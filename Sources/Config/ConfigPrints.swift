// ConfigPrints.swift — what the files said when they were last read, key by key: so that a change can be told by name.
//
// Values are kept as numbers that say equal or not: what is secret stays where it is.

import Mail

/// The configuration's keys and what became of them.
package struct ConfigPrints: Sendable {
    /// A file with more keys than this is told as a whole: a table of routes may have a hundred thousand.
    private static let mostKeys = 2000
    /// Neither is one of more bytes read for its keys.
    private static let mostBytes = 1 << 20

    private var files: [String: [String: Int]] = [:]

    package init() {}

    /// - Parameter texts: what each file says; a file that is not there is left out.
    package init(_ texts: [(file: String, text: String)]) {
        for (file, text) in texts { files[file] = Self.prints(file, text) }
    }

    private static func prints(_ file: String, _ text: String) -> [String: Int] {
        guard text.utf8.count <= mostBytes else { return prints(Revision(of: Array(text.utf8))) }
        let whole = ["": text.hashValue]
        guard file.ends(withOctets: ".ini") else { return whole }
        let entries = INIDocument(parsing: text).entries
        guard entries.count <= mostKeys else { return whole }
        var found: [String: Int] = [:]
        for entry in entries {
            let section = entry.section.map { $0 == "main" ? "" : "[\($0)] " } ?? ""
            let name = section + entry.key
            // A key may come more than once.
            found[name] = (found[name] ?? 0) &* 31 &+ entry.value.hashValue
        }
        return found
    }

    private static func prints(_ revision: Revision) -> [String: Int] { ["": revision.digest.hashValue] }

    /// A file says something else since an edit from within.
    package mutating func note(_ edit: Edit, in store: SettingsStore) {
        let file = edit.file.name
        guard edit.size <= Self.mostBytes else { return files[file] = Self.prints(edit.revision) }
        files[file] = (try? store.reader.fileText(file) ?? nil).map { Self.prints(file, $0) }
    }

    /// A file that says something else, and the keys that do; none where it is told as a whole.
    package struct Change: Hashable, Sendable {
        package let file: String
        package let keys: [String]
    }

    /// What is different now, by file.
    package func changes(to new: ConfigPrints) -> [Change] {
        Set(files.keys).union(new.files.keys).sorted().compactMap { file in
            let (old, now) = (files[file] ?? [:], new.files[file] ?? [:])
            guard old != now else { return nil }
            let keys = Set(old.keys).union(now.keys).filter { old[$0] != now[$0] && !$0.isEmpty }
            return Change(file: file, keys: keys.sorted())
        }
    }
}

extension SettingsReader {
    /// What the files say now; one that cannot be read is left out.
    package func prints() -> ConfigPrints {
        ConfigPrints(Self.files.compactMap { file in (try? fileText(file) ?? nil).map { (file, $0) } })
    }
}

extension SettingsStore {
    /// What the files say now.
    package func prints() -> ConfigPrints { reader.prints() }
}
