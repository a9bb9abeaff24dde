// ImportDraft.swift — a configuration while it is translated from another program's: each line of ours with where it comes
// from, and every line of theirs with what became of it.
//
// Guarantees: no secret stands in a comment, in the list of remarks or in a file that is not one for secrets; each goes into a
// file of its own below `secrets/`, and what is written names it. Text from outside is put into comments as one harmless line.

import Config
import Mail

/// What an import comes to.
package struct ImportDraft: Sendable {
    /// What became of a line.
    package enum Fate: String, Hashable, Sendable {
        /// It means the same here.
        case translated
        /// It was understood, and the other program means something a little different, or says nothing.
        case guessed
        /// It counts for nothing here.
        case leftOut = "left out"
        /// It protected somebody, and nothing here does: nothing is delivered before somebody has decided.
        case lost = "PROTECTION LOST"
    }

    /// A line of theirs.
    package struct Remark: Hashable, Sendable {
        /// `main.cf:12`.
        package let place: String
        /// A name without its value, which may be a secret.
        package let what: String
        package let fate: Fate
        /// Where it went, or why it did not; empty when that is plain.
        package let because: String

        /// One line.
        package var text: String {
            "\(place): \(what): \(fate.rawValue)" + (because.isEmpty ? "" : ": \(because)")
        }
    }

    /// A file to be written.
    package struct File: Hashable, Sendable {
        package let name: String
        package let bytes: [UInt8]
        /// For the relay alone.
        package let isSecret: Bool
    }

    private struct Entry {
        var comments: [String]
        /// Empty for a line that is no `key = value`.
        let key: String
        var value: String
    }

    private struct Section {
        let name: String
        var entries: [Entry] = []
    }

    private var sections: [String: [Section]] = [:]
    private var whole: [String: File] = [:]
    /// In the order in which they were made.
    package private(set) var remarks: [Remark] = []

    package init() {}

    /// Where a line of theirs stands.
    package struct Place: Hashable, Sendable {
        let text: String
        let what: String

        init(_ file: String, _ line: Int?, _ what: String) {
            let name = ImportDraft.harmless(file)
            text = line.map { "\(name):\($0)" } ?? name
            self.what = ImportDraft.harmless(what)
        }
    }

    // MARK: - What is written

    /// Writes a key; one that stands there already gets another value.
    ///
    /// - Parameter because: why it is a guess; nil when it means the same.
    mutating func set(
        _ key: String,
        _ value: String,
        in section: String? = nil,
        of file: String,
        from place: Place,
        guess because: String? = nil
    ) {
        put(key, value, section, file, place, because, replaces: true)
    }

    /// Writes a key once more: `mx`, or a line of a plain list with the key empty.
    mutating func add(
        _ key: String,
        _ value: String,
        in section: String? = nil,
        of file: String,
        from place: Place,
        guess because: String? = nil
    ) {
        put(key, value, section, file, place, because, replaces: false)
    }

    /// Writes a key that nothing has set, as what ran before had it by itself.
    mutating func fill(_ key: String, _ value: String, of file: String, from place: Place, guess because: String) {
        if self.value(key, of: file) == nil { set(key, value, of: file, from: place, guess: because) }
    }

    /// The value that a key has by now.
    func value(_ key: String, in section: String? = nil, of file: String) -> String? {
        sections[file]?.first { $0.name.isSame(octets: section ?? "") }?.entries.last { $0.key.isSame(octets: key) }?
            .value
    }

    /// Whether a section has lines by now.
    func has(_ section: String, of file: String) -> Bool {
        sections[file]?.contains { $0.name.isSame(octets: section) } ?? false
    }

    /// Keeps a secret in a file of its own.
    ///
    /// - Returns: what stands in its place.
    mutating func keep(secret: String, as name: String) -> String {
        let letters = name.lowercasedASCII.utf8.map { octet in
            (0x61...0x7A).contains(octet) || (0x30...0x39).contains(octet) || octet == 0x2E ? octet : UInt8(ascii: "-")
        }
        let stem = String(decoding: letters.prefix(100), as: UTF8.self)
        var path = "\(SecretReference.directory)\(stem)"
        var number = 2
        let bytes = Array("\(secret)\n".utf8)
        while let other = whole[path], other.bytes != bytes {
            path = "\(SecretReference.directory)\(stem)-\(number)"
            number += 1
        }
        whole[path] = File(name: path, bytes: bytes, isSecret: true)
        return "@file:\(path)"
    }

    /// Takes a file over as it is.
    mutating func copy(_ bytes: [UInt8], as file: String, isSecret: Bool, from place: Place) {
        whole[file] = File(name: file, bytes: bytes, isSecret: isSecret)
        say(place, .translated, "it is \(file)")
    }

    // MARK: - What is said

    mutating func leaveOut(_ place: Place, _ because: String) { say(place, .leftOut, because) }

    /// Something protected mail or clients, and nothing here does: delivery is off until somebody has decided.
    mutating func lose(_ place: Place, _ because: String) {
        say(place, .lost, because)
        let file = OutboundSettings.file
        guard value("disabled", of: file) == nil else { return }
        let comment = "\(place.text): \(place.what) has no counterpart: decide, then take these two lines away"
        section(file, nil) { section in
            section.entries.append(Entry(comments: [comment], key: "disabled", value: "true"))
            section.entries.append(
                Entry(comments: [], key: "disabled_reason", value: "the import lost protection: see \(Self.listName)")
            )
        }
    }

    // MARK: - The result

    /// The file that lists what became of each line.
    package static let listName = "imported.txt"

    /// Every file, in order of their names.
    package var files: [File] {
        var found = Array(whole.values)
        for (file, parts) in sections {
            let isSecret = file.isSame(octets: AuthSettings.file)
            found.append(File(name: file, bytes: Array(Self.text(parts).utf8), isSecret: isSecret))
        }
        let list = remarks.map { "\($0.text)\n" }.joined()
        found.append(File(name: Self.listName, bytes: Array(list.utf8), isSecret: false))
        return found.sorted { $0.name < $1.name }
    }

    private static func text(_ sections: [Section]) -> String {
        var text = ""
        // What stands before any section comes first.
        for section in sections.filter({ $0.name.isEmpty }) + sections.filter({ !$0.name.isEmpty }) {
            if !text.isEmpty { text += "\n" }
            if !section.name.isEmpty { text += "[\(section.name)]\n" }
            for entry in section.entries {
                for comment in entry.comments { text += "; \(comment)\n" }
                text += entry.key.isEmpty ? "\(entry.value)\n" : "\(entry.key) = \(entry.value)\n"
            }
        }
        return text
    }

    // MARK: - Pieces

    private mutating func put(
        _ key: String,
        _ value: String,
        _ name: String?,
        _ file: String,
        _ place: Place,
        _ because: String?,
        replaces: Bool
    ) {
        let isLine = key.isEmpty ? !value.utf8.contains { $0 < 0x20 } : INIDocument.canHold(value)
        guard isLine, !(name ?? "").utf8.contains(where: { $0 < 0x20 }) else {
            return say(place, .leftOut, "its value cannot stand in \(file)")
        }
        let comment = "\(place.text): \(place.what)" + (because.map { ": guessed: \($0)" } ?? "")
        section(file, name) { section in
            if replaces, let index = section.entries.firstIndex(where: { $0.key.isSame(octets: key) }) {
                section.entries[index].comments.append(comment)
                section.entries[index].value = value
            } else if !replaces,
                section.entries.contains(where: { $0.key.isSame(octets: key) && $0.value.isSame(octets: value) })
            {
                return
            } else {
                section.entries.append(Entry(comments: [comment], key: key, value: value))
            }
        }
        let goal = [file, name.map { "[\($0)]" } ?? "", key].filter { !$0.isEmpty }.joined(separator: " ")
        say(place, because == nil ? .translated : .guessed, because.map { "\(goal): \($0)" } ?? goal)
    }

    private mutating func section(_ file: String, _ name: String?, _ body: (inout Section) -> Void) {
        let name = name ?? ""
        var parts = sections[file] ?? []
        let index = parts.firstIndex { $0.name.isSame(octets: name) } ?? parts.endIndex
        if index == parts.endIndex { parts.append(Section(name: name)) }
        body(&parts[index])
        sections[file] = parts
    }

    private mutating func say(_ place: Place, _ fate: Fate, _ because: String) {
        remarks.append(
            Remark(place: place.text, what: place.what, fate: fate, because: Self.harmless(because, limit: 400))
        )
    }

    /// One line without control characters, of at most so many octets.
    static func harmless(_ text: some StringProtocol, limit: Int = 120) -> String {
        let octets = text.utf8.prefix(limit).map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: "?") : $0 }
        return String(decoding: octets, as: UTF8.self)
    }
}

/// Where an import reads: files beside each other, or anywhere.
package struct ImportSource: Sendable {
    /// The bytes of a file by its path; nil when there is none that can be read.
    package let contents: @Sendable (String) -> [UInt8]?

    package init(_ contents: @escaping @Sendable (String) -> [UInt8]?) { self.contents = contents }

    /// A file as text, a byte-order mark and the line ends of DOS left out.
    func text(_ path: String) -> String? {
        guard var bytes = contents(path) else { return nil }
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
        bytes.removeAll { $0 == 0x0D }
        return String(decoding: bytes, as: UTF8.self)
    }
}
