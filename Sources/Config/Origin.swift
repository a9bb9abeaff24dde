// Origin.swift — where each value of the configuration comes from: a file and its line, a variable, or the default.

/// A key, its value, and where that stands.
package struct Origin: Hashable, Sendable {
    /// Where a value stands.
    package enum Place: Hashable, Sendable {
        /// Nowhere.
        case standard
        /// In its file, in a line counted from 1.
        case line(Int)
        /// In a variable of the environment.
        case variable(String)
    }

    package let file: String
    /// nil for keys that stand before any section, or in `[main]`.
    package let section: String?
    /// Empty for a file that is a plain list.
    package let key: String
    /// nil for a default; secrets are covered.
    package let value: String?
    package let place: Place
}

extension SettingsReader {
    /// Every key that is set, and every one that could be, in the order of files and lines.
    ///
    /// - Throws: when a file cannot be read.
    package func origins() throws(ConfigErrors) -> [Origin] {
        var found: [Origin] = []
        for file in Self.files {
            let text = try fileText(file) ?? ""
            guard file.hasSuffix(".ini") else {
                found += plain(file, text)
                continue
            }
            let entries = INIDocument(parsing: text).entries
            for entry in entries where environment.pin(entry.key, in: entry.section, of: file) == nil {
                let section = entry.section == "main" ? nil : entry.section
                found.append(origin(file, section, entry.key, entry.value, .line(entry.line)))
            }
            for pin in environment.pins where pin.file == file {
                found.append(origin(file, pin.section, pin.key, pin.value, .variable(pin.variable)))
            }
            let names = Self.keyed.first { $0.file == file }?.names ?? []
            for name in names
            where !found.contains(where: { $0.file == file && $0.section == name.0 && $0.key == name.1 }) {
                found.append(Origin(file: file, section: name.0, key: name.1, value: nil, place: .standard))
            }
        }
        return found
    }

    /// `me`, `relay_acl_allow`: a value for each line.
    private func plain(_ file: String, _ text: String) -> [Origin] {
        let pins = environment.pins.filter { $0.file == file }
        if !pins.isEmpty {
            return pins.map { origin(file, nil, "", $0.value, .variable($0.variable)) }
        }
        // A template is one text, not a list of values.
        guard file != Self.bounceFile else { return [] }
        return PlainLines.of(text).map { origin(file, nil, "", $0.text, .line($0.line)) }
    }

    private func origin(
        _ file: String,
        _ section: String?,
        _ key: String,
        _ value: String,
        _ place: Origin.Place
    ) -> Origin {
        let words = ["pass", "secret", "token", "hash"]
        // Where users and tokens are kept, whatever is not a known word may be a password.
        let isDocumented = Self.keyed.first { $0.file == file }?.names.contains { $0 == (section, key) } ?? false
        let isUser = file == AuthSettings.file && section != nil
        let isSecret = !isDocumented && (isUser || words.contains { key.lowercased().contains($0) })
        // What only says where the secret is may be seen.
        let shown = isSecret && !value.hasPrefix("@") ? "(secret)" : ValueParsing.shown(value)
        return Origin(file: file, section: section, key: key, value: shown, place: place)
    }
}

extension KeyedSettings {
    /// Sections and names of the documented keys.
    static var names: [(String?, String)] { keys.map { ($0.section, $0.name) } }
}
